"""Models that answer or judge but are not tuned: the strong and the weak one of delta learning, and the judge."""

import re

from runner.interpreter.models import find_models

_MODEL = r"(?P<model>[\w./-]*\w(?: \d+(?:[.p]\d+)?b\b)?)"
_ROLE = r"(?P<role>strong(?:er)?|weak(?:er)?|judg(?:e|ing))"
_NAMED = r"(?P<role>(?:strong|weak)(?:er)?(?= (?:model|one|and)\b|\s*[.,;)]|\s*$)|judg(?:e|ing)\b)"
"""A role at the end of a phrase: "as a strong baseline" names none."""
_NOUN = r"(?: model| one)"
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:(?:use|using|with|take|let|have) )?{_MODEL} (?:as|for|be|is) (?:the |a |our )?{_NAMED}{_NOUN}?",
        rf"\b{_ROLE}(?:{_NOUN}(?: is|:| =| be|,)?|(?: is|:| =)) {_MODEL}",
        rf"\b(?P<role>judge)d? (?:by|with|using) {_MODEL}",
    )
]
_FIELDS = {"strong": "strong_model", "weak": "weak_model", "judg": "judge_model"}


def take_roles(text: str) -> tuple[dict[str, str], str]:
    """The fields strong_model, weak_model and judge_model, and the text without what named them."""
    found: dict[str, str] = {}
    for pattern in _PATTERNS:
        at = 0
        while match := pattern.search(text, at):
            models = find_models(match["model"])
            at = match.end() if not models else match.start()
            if models:
                field = next(name for stem, name in _FIELDS.items() if match["role"].lower().startswith(stem))
                found.setdefault(field, models[0])
                text = text[: match.start()] + text[match.end() :]
    return found, text
