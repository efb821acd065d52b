"""How the result shall be judged: validation loss, an evaluator, a generated one, or a rubric [A142-A148, A170]."""

import re
from collections.abc import Callable
from typing import Any

from runner.interpreter.datasets import find_evaluator
from runner.interpreter.models import find_models
from runner.interpreter.text import negated, sentence_after

_LOSS = re.compile(r"\b(?:validation|eval(?:uation)?|val|held[- ]?out)[- ]loss\b", re.I)
_GENERATE = re.compile(
    r"\b(?:generat(?:e|ing)|writ(?:e|ing)|build(?:ing)?|creat(?:e|ing)|author(?:ing)?|mak(?:e|ing)"
    r"|draft(?:ing)?)\s+(?:me |us )?"
    r"(?:an? |the |your |my |our )?(?:own |new |custom |task-specific |python |sft |rft "
    r"|eval protocol )*evaluator",
    re.I,
)
_AGENT_MADE = re.compile(r"\b(?:agent|model|auto(?:matically)?)[- ]generated evaluator|\bgenerated evaluator\b", re.I)
_OWN = re.compile(
    r"\b(?:use |with |using )?(?:my|our) (?:own )?evaluator\b|\bown evaluator\b|\bbring my own evaluator", re.I
)
_REUSE = re.compile(r"\b(?:that|this|the) evaluator\b", re.I)
_SCORING = re.compile(
    r"\b(?:scor|check|verif|match|correct|answer|output|repl(?:y|ies)|ground|toleran|pattern|json|credit)", re.I
)
_RUBRIC = re.compile(
    r"\b(?:this |following |custom )?(?:judging )?rubric\s*(?:is|:|=|-)\s*|\bjudge (?:them |it |answers "
    r"|outputs )?(?:by|on|according to)[: ]\s*",
    re.I,
)


def find_evaluation(text: str) -> dict[str, Any]:
    """The fields evaluation, evaluator and rubric, as far as said."""
    if name := find_evaluator(text):
        return {"evaluation": "evaluator", "evaluator": name}
    if match := _RUBRIC.search(text):
        words = sentence_after(text, match.end()).strip(" '\"")
        return {"evaluation": "rubric", "rubric": words} if words else {}
    if (_GENERATE.search(text) or _AGENT_MADE.search(text)) and not _denied(text):
        return {"evaluation": "generated"}
    if _OWN.search(text):
        return {"evaluation": "evaluator"}
    if (match := _LOSS.search(text)) and not negated(text, match.start(), reach=3) and not _is_target(text, match):
        return {"evaluation": "validation_loss"}
    return {}


def is_authoring(text: str) -> bool:
    """Whether an evaluator itself is asked for: "Generate an evaluator for accounts/...", "Build an RFT evaluator"."""
    match = _GENERATE.search(text)
    if not match or _denied(text):
        return False
    rest = text[match.end() : match.end() + 12].lower()
    return "for me" not in rest


def evaluator_kind(text: str) -> str:
    """`rft` when Eval Protocol or reinforcement is named, else `sft`."""
    return "rft" if re.search(r"\brft\b|\beval[- ]protocol\b|\breinforcement\b|@evaluation_test", text, re.I) else "sft"


def uses_that_evaluator(text: str) -> bool:
    """ "... and use that evaluator to pick the winning candidate"."""
    return bool(_REUSE.search(text))


def find_scoring_intent(text: str, sets: Callable[[str], bool]) -> str | None:
    """The user's own words on what is correct: what is left beside naming the data, the follow-on work and settings.

    `sets` tells whether a sentence sets something.
    """
    sentences = [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]
    kept = [part for part in sentences if not _GENERATE.search(part) and not _is_other(part, sets)]
    return " ".join(kept).strip() or find_inline_intent(text)


def find_inline_intent(text: str) -> str | None:
    """What stands beside the evaluator in one sentence: "an evaluator that checks whether the JSON is valid"."""
    inline = re.search(
        r"evaluator\b[^.]*?\b(?:that|which|to) (?:checks?|scores?|verif\w+|tests?|measures?)\b(?:[^.]|\.(?=\S))*",
        text,
        re.I,
    )
    words = re.sub(r"^evaluator\b.*?\b(?:that|which|to)\s+", "", inline[0], flags=re.I) if inline else ""
    return words.strip() or None


def _is_other(sentence: str, sets: Callable[[str], bool]) -> bool:
    """Whether a sentence is about the work that follows, or sets something of it."""
    if re.search(r"\bthen (?:run|do|start)\b", sentence, re.I) or find_models(sentence):
        return True
    return not _SCORING.search(sentence) and sets(sentence)


def _denied(text: str) -> bool:
    match = _GENERATE.search(text) or _AGENT_MADE.search(text)
    return bool(match and negated(text, match.start(), reach=3))


def _is_target(text: str, match: re.Match[str]) -> bool:
    return bool(
        re.match(
            r"\s*(?:is |must be |should be )?(?:below|under|less than|at most|<|of \d)",
            text[match.end() : match.end() + 24],
            re.I,
        )
    )
