"""Candidate labels given in words: "Labels are: billing, technical, account, sales." [A184, A195]."""

import re

_INTRO = re.compile(
    r"\b(?:candidate |possible |allowed )?(?:labels?|classes|categories|intents) (?:are|is|should be)\s*:?\s*"
    r"|\b(?:labels|classes|categories|intents)\s*[:=]\s*",
    re.I,
)
_INTO = re.compile(
    r"\b(?:classify|categori[sz]e|sort|route|label)\b[^.:\n]{0,60}?\b(?:into|as|to)\s+(?!one of|\d|the following)", re.I
)


def find_labels(text: str) -> list[str] | None:
    """The listed labels in order, quotes removed; None when no list is given."""
    if match := _INTRO.search(text):
        return _split(text[match.end() :]) or None
    if match := _INTO.search(text):
        found = _split(text[match.end() :])
        return found if len(found) > 1 and all(len(label.split()) <= 3 for label in found) else None
    return None


def _split(text: str) -> list[str]:
    end = re.search(r"\.(?=\s|$)|\n|;|!|\?| - ", text)
    parts = re.split(r"\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+", text[: end.start() if end else len(text)])
    cleaned = [part.strip(" '\"`[]()") for part in parts]
    return list(dict.fromkeys(part for part in cleaned if part))
