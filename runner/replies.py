"""Reading the fields of an answer in plain words: the words of an option, its number, or "yes, the default"."""

import re
from typing import Any

from pilotlight.question import Answer, Question, QuestionField

_ACCEPT = re.compile(
    r"\b(yes|ok|okay|sure|fine|default|defaults|recommended|recommendation|suggested|go ahead|proceed|agreed?)\b", re.I
)
_NUMBER = re.compile(r"(?:^|\b(?:option|number|no\.?)\s*)#?(\d{1,2})(?=$|[\s.,;)])", re.I)


def read_fields(question: Question, answer: Answer, said: dict[str, Any]) -> dict[str, Any]:
    """Values of the question's fields as Intent fields; what `said` already holds is not read twice.

    A field nobody mentioned takes its default once the reply settles something or plainly accepts.
    """
    found: dict[str, Any] = {}
    for field in question.fields:
        if field.name in answer.values:
            found[field.name] = answer.values[field.name]
        elif field.name not in said and (value := _read_option(field, answer.text, len(question.fields))) is not None:
            found[field.name] = value
    settled = bool(found) or any(field.name in said for field in question.fields) or accepts(answer.text)
    for field in question.fields:
        if settled and field.name not in found and field.name not in said and field.default is not None:
            found[field.name] = field.default
    return {name: _shaped(name, value) for name, value in found.items()}


def accepts(text: str) -> bool:
    """Whether a reply plainly takes what is proposed."""
    return _ACCEPT.search(text) is not None


def _read_option(field: QuestionField, text: str, fields: int) -> str | None:
    words = _squeeze(text)
    named = [option.value for option in field.options if _squeeze(option.value.rsplit("/", 1)[-1]) in words]
    named += [option.value for option in field.options if _squeeze(option.label) in words and _squeeze(option.label)]
    if named:
        return max(named, key=len)
    number = _NUMBER.search(text.strip()) if fields == 1 or len(field.options) > 1 else None
    if number and 0 < int(number[1]) <= len(field.options):
        return field.options[int(number[1]) - 1].value
    return None


def _shaped(name: str, value: Any) -> Any:
    if name == "base_models":
        return value if isinstance(value, list) else [value]
    return value


def _squeeze(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())
