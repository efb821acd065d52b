"""The kinds of evaluators that are written without a model, and which of them a wish and a dataset call for."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from runner.evaluators import traits
from runner.evaluators.scores import EvaluatorUnfit

TITLES = {
    "exact": "Exact match",
    "normalised": "Match but for case and marks",
    "numeric": "Final number",
    "json_equal": "JSON equality",
    "json_schema": "JSON schema",
    "label": "Label",
    "key_facts": "Key facts",
    "regex": "Regular expression",
}
_WORDS = {
    "regex": r"\bregex\w*|\bregular expression|\bpattern\b",
    "json_schema": r"\bschema|\b(?:valid|well-?formed) json|"
    r"\b(?:right|required|expected|correct) (?:keys|fields|structure)",
    "json_equal": r"\bjson\b|\bfields?\b|\bslots?\b|\bkey[- ]value|\bstructured\b",
    "key_facts": r"\bfacts?\b|\bkey (?:points?|information|details)|\b(?:contain|mention|cover|include)s?\b",
    "numeric": r"\bnumbers?\b|\bnumeric\w*|\bnumerical|\bamounts?\b|\btotals?\b|\bquantit|\bintegers?\b|\btolerance",
    "label": r"\blabels?\b|\bcategor(?:y|ies)\b|\bclass(?:es)?\b|\bintents?\b",
    "exact": r"\bexact\w*|\bverbatim|\bword for word|\bcharacter by character",
    "normalised": r"\bnormali[sz]|\bignor\w+ (?:the )?(?:case|punctuation|capital)|"
    r"\bcase[- ]insensitive|\bregardless of",
}
"""In the order they are looked for: what is told by a rare word comes before what is told by a common one."""
_TRUTH = re.compile(
    r"\bmatch|\bcorrect|\bsame\b|\bequals?\b|\bagree|\bground[- ]truth|\bright\b|\baccura|\breference", re.I
)
_FORM = re.compile(
    r"\b(?:(?:right|correct) )?(?:schema|formats?|structure|keys)\b|\bvalid\b|\bwell-?formed\b|\bpattern\b", re.I
)
_STRICT = re.compile(r"\bexact|\bstrict|\ball or nothing|\b(?:no|without) partial|\bwhole\b|\bidentical", re.I)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s?(?:%|percent)")
_ABSOLUTE = re.compile(r"(?:within|tolerance(?: of)?|±|\+/-)\s*(\d*\.?\d+)(?!\s?(?:%|percent|\d))", re.I)
_PATTERN = re.compile(r"`([^`]+)`|\"([^\"]+)\"|'([^']+)'|/((?:[^/\s]|\\/)+)/(?=[\s.,;]|$)")
_LONGEST_PATTERN = 200
_WISHES = "the final number, the JSON fields, the JSON schema, the label, the key facts, an exact match, or a pattern"


class Kind(NamedTuple):
    """A kind of the library, what its template needs, and in words why it was chosen."""

    name: str
    settings: dict[str, Any]
    why: str

    @property
    def compares(self) -> bool:
        """Whether answers are compared with the right one; else only their form is checked."""
        return self.name != "json_schema" and bool(self.settings.get("compare", True))


def is_about_form(wish: str) -> bool:
    """Whether the form of an answer is to be checked, and not whether it is the right one."""
    return bool(_FORM.search(wish)) and not _TRUTH.search(re.sub(_FORM, "", wish))


def choose_kind(wish: str, truths: Sequence[str]) -> Kind:
    """The kind that the wish names, or (where it names none, or there is no wish) that the right answers suggest.

    Raises EvaluatorUnfit where nothing fits: the wish is about something that no kind checks, the data is not of the
    kind that was wished for, or there is no telling what a right answer is.
    """
    named = next((kind for kind, words in _WORDS.items() if re.search(words, wish, re.I)), None)
    if named is None:
        if wish and not _TRUTH.search(wish):
            raise EvaluatorUnfit(
                f"None of the built-in evaluators checks this: {wish[:200]}",
                hint=f"Say what can be checked by comparing: {_WISHES}.",
            )
        return _by_data(wish, truths)
    fit = _fit(named, truths)
    if fit < traits.SHARE:
        suggestion = _suggest(truths)
        raise EvaluatorUnfit(
            f'You asked for the evaluator "{TITLES[named]}", but only {fit:.0%} of the right answers in the data are '
            f"of that kind.",
            hint=f"Say something else to compare: {_WISHES}.{suggestion}",
        )
    return Kind(named, _settings(named, wish, truths), "you named it")


def _by_data(wish: str, truths: Sequence[str]) -> Kind:
    for name, test, why in (
        ("numeric", traits.is_number, "of the right answers are numbers"),
        ("json_equal", traits.read_object, "of the right answers are JSON objects"),
    ):
        if (part := traits.share(truths, test)) >= traits.SHARE:
            return Kind(name, _settings(name, wish, truths), f"{part:.0%} {why}")
    if labels := traits.list_labels(truths):
        return Kind("label", _settings("label", wish, truths), f"the right answers are {len(labels)} different labels")
    if traits.share(truths, lambda truth: len(truth) <= traits.SHORT) >= traits.SHARE:
        return Kind("normalised", {}, f"the right answers are short (up to {traits.SHORT} characters)")
    if (part := traits.share(truths, traits.has_facts)) >= traits.SHARE:
        why = f"the right answers are long, and {part:.0%} of them state numbers, addresses or names"
        return Kind("key_facts", _settings("key_facts", wish, truths), why)
    raise EvaluatorUnfit(
        "The right answers in this data are free text without numbers, addresses or names, so there is no telling by "
        "comparison which answer is right.",
        hint=f"Say what to compare ({_WISHES}), or begin with validation loss and add an evaluator later.",
    )


def _suggest(truths: Sequence[str]) -> str:
    try:
        return f' By the data, "{TITLES[_by_data("", truths).name]}" would fit.'
    except EvaluatorUnfit:
        return ""


def _fit(kind: str, truths: Sequence[str]) -> float:
    """The share of right answers that an evaluator of this kind can work with."""
    if kind == "numeric":
        return traits.share(truths, traits.has_number)
    if kind in ("json_equal", "json_schema"):
        return traits.share(truths, traits.read_object)
    return float(bool(traits.list_labels(truths))) if kind == "label" else 1.0


def _settings(kind: str, wish: str, truths: Sequence[str]) -> dict[str, Any]:
    if kind == "numeric":
        percent, absolute = _PERCENT.search(wish), _ABSOLUTE.search(wish)
        return {
            "relative": float(percent[1]) / 100 if percent else 1e-6,
            "absolute": float(absolute[1]) if absolute else 1e-9,
        }
    if kind == "json_equal":
        return {"partial": not _STRICT.search(wish)}
    if kind == "json_schema":
        fields, required = traits.describe_fields(truths)
        return {"fields": fields, "required": required}
    if kind == "label":
        return {"labels": traits.list_labels(truths)}
    if kind == "key_facts":
        return {"common": traits.common_words(truths)}
    return _pattern(wish) if kind == "regex" else {}


def _pattern(wish: str) -> dict[str, Any]:
    match = _PATTERN.search(wish)
    pattern = next((group for group in match.groups() if group), "") if match else ""
    if not pattern or len(pattern) > _LONGEST_PATTERN:
        raise EvaluatorUnfit(
            "Which pattern? There is none in your words, or it is too long.",
            hint="Write it between backticks, for example: check that the answer matches the pattern `[A-Z]{2}\\d{4}`.",
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise EvaluatorUnfit(f"The pattern {pattern!r} cannot be read: {error}.", hint="Write it anew.") from error
    return {"pattern": pattern, "compare": bool(re.search(r"ground[- ]truth|reference|same|equal|correct", wish, re.I))}
