"""Labels in words: which there are [A184, A195], which to drop, where they are read, what to do about rare ones."""

import re
from typing import Any

from runner.interpreter.text import negated

_NOUN = r"(?:labels?|classes|class|categories|category|intents?)"
_LISTED = r"(?!noise\b|errors?\b|weight|with\b|that\b|which\b|whose\b|below\b|above\b|under\b|detection\b|from\b|in\b)"
"""What follows the noun is a list of labels, not something about labels."""
_INTRO = re.compile(
    rf"\b(?:candidate |possible |allowed )?{_NOUN} (?:are|is|should be)"
    rf"(?!\s+(?:in|after|the|read|given|imbalanced|found)\b)\s*:?\s*|\b(?:labels|classes|categories|intents)\s*[:=]\s*"
    rf"|\b(?:(?:only|just) (?:keep|use)|(?:keep|use) (?:only|just)) (?:the )?{_NOUN}\s*:?\s+{_LISTED}",
    re.I,
)
_INTO = re.compile(
    r"\b(?:classify|categori[sz]e|sort|route|label)\b[^.:\n]{0,60}?\b(?:into|as|to)\s+(?!one of|\d|the following)", re.I
)
_DROP = re.compile(
    rf"\b(?:drop|remove|exclude|ignore|leave out|omit) (?:the )?(?:rare |small )?{_NOUN}\s*:?\s+{_LISTED}",
    re.I,
)
_REBALANCE = re.compile(
    r"\bre-?balanc\w+|\bbalanced sampling|\b(?:over|under)-?sampl\w+|\bbalance (?:the )?(?:classes|labels|data\w*)",
    re.I,
)
_WEIGHTS = re.compile(
    r"\b(?:sample|class|row|label|inverse[- ]frequency)[- ]weight\w*|\bweighted (?:training|loss|rows|samples|sampling)"
    r"|\bweight (?:the )?(?:rare |rows|samples|classes|labels|training)\w*",
    re.I,
)
_FIELD = re.compile(
    r"\b(?:label|class|category|intent)\b[^.\n]{0,30}?\b(?:json )?field\s+(?:called |named )?[\"'`]?([\w-]{1,40})", re.I
)
_MARKER = re.compile(
    r"\b(?:label|class|category|intent) (?:is |comes |stands )?(?:after|behind|follows)\s+(?:the )?"
    r"(?:marker |word |text )?[\"'`]?([A-Za-z][\w -]{0,24}?)\s*:?\s*[\"'`]?(?:[.,;]|\s*$|:)",
    re.I,
)
_WHOLE = re.compile(
    r"\blabel is (?:the )?(?:whole|entire|full)\b"
    r"|\b(?:whole|entire) (?:last )?(?:assistant )?(?:message|answer|reply) is the label",
    re.I,
)
_CLAUSE = re.compile(r"\s+(?:with|using|from|on|via|in)\s+(?=\S)", re.I)


def find_labels(text: str) -> list[str] | None:
    """The listed labels in order, quotes removed; None when no list is given."""
    if (match := _INTRO.search(text)) and not negated(text, match.start(), reach=2):
        return _split(text[match.end() :]) or None
    if match := _INTO.search(text):
        found = _split(text[match.end() :])
        found = [*found[:-1], _CLAUSE.split(found[-1])[0]] if found else found
        return found if len(found) > 1 and all(len(label.split()) <= 3 for label in found) else None
    return None


def find_label_settings(text: str) -> dict[str, Any]:
    """What to drop, where the label is read, and what to do about rare ones, as far as said."""
    said: dict[str, Any] = {}
    if (match := _DROP.search(text)) and (dropped := _split(text[match.end() :])):
        said["drop_labels"] = dropped
    for value, pattern in (("rebalance", _REBALANCE), ("weights", _WEIGHTS)):
        if match := pattern.search(text):
            said["imbalance_mitigation"] = "none" if negated(text, match.start(), reach=3) else value
            break
    if rule := _find_rule(text):
        said["label_rule"] = rule
    return said


def _find_rule(text: str) -> str | None:
    if match := _FIELD.search(text):
        return f"json:{match[1]}"
    if match := _MARKER.search(text):
        return f"after:{match[1].strip()}"
    return "message" if _WHOLE.search(text) else None


def _split(text: str) -> list[str]:
    end = re.search(r"\.(?=\s|$)|\n|;|!|\?| - ", text)
    parts = re.split(r"\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+", text[: end.start() if end else len(text)])
    cleaned = [part.strip(" '\"`[]()") for part in parts]
    return list(dict.fromkeys(part for part in cleaned if part))
