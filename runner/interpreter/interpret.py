"""The built-in interpreter: an instruction in words becomes an Intent. Deterministic, no I/O, no guessing."""

import re
from typing import Any

from runner.interpreter.datasets import find_datasets
from runner.interpreter.evaluation import (
    evaluator_kind,
    find_evaluation,
    find_inline_intent,
    find_scoring_intent,
    is_authoring,
    uses_that_evaluator,
)
from runner.interpreter.intent import Intent, Workflow
from runner.interpreter.labels import find_label_settings, find_labels
from runner.interpreter.models import find_models
from runner.interpreter.numbers import FINDERS
from runner.interpreter.refusals import find_unsupported
from runner.interpreter.roles import take_roles
from runner.interpreter.sweeps import find_sweep_settings
from runner.interpreter.text import negated, normalise
from runner.interpreter.unread import find_unread

_TUNING = (
    r"(?:h\.?p\.?|hyper[- ]?param(?:eter)?s?)[- ]?(?:tuning|sweep|search|optimi[sz]ation)?|(?:the "
    r"|any )?(?:candidate )?sweep(?!\s+base)"
)
_SKIP = r"(?:skip|no|without|omit|avoid|don'?t (?:do|run)|do not (?:do|run)|leave out|forget)"
_FLAGS: dict[str, str] = {
    "skip_sweep": rf"\b{_SKIP}\s+(?:the |any |a |all )?(?:{_TUNING})\b",
    "skip_final_training": rf"\b{_SKIP}\s+(?:the |any |a )?(?:full[- ]data |full |final )+(?:final "
    rf"|full[- ]data )?(?:run|training|re-?train\w*)"
    r"|\bdeploy the (?:winning|best) candidate directly|\b(?:don'?t|do not) re-?train",
    "benchmark_only": r"\b(?:just|only) (?:run (?:a |the )?|do (?:a |the )?)?benchmark\b|\bbenchmark(?:ing)? only\b"
    r"|\binference[- ]only\b"
    r"|\bbenchmark\b[^.]{0,60}\b(?:don'?t|do not|without|no|skip)(?: the| any)? (?:fine-?tun|train)",
    "generate_pairs": r"\bgenerat\w+ (?:the )?(?:preference )?pairs\b|\bpreference pairs? (?:are )?generat"
    r"|\bdelta learning\b",
    "sweep_base_models": r"\bsweep (?:the |over |across |several |some |all )*(?:supported )?(?:base )?models\b"
    r"|\b(?:find|pick|choose) the best (?:base )?(?:model|one)\b"
    r"|\btry (?:several|different|multiple|a few) base models\b|\bbase[- ]model sweep\b",
    "stop_at_target": r"\bstop(?:ping)? (?:early |training |the sweep )?(?:once|when|as soon as|after|if|at)\b"
    r"|\bearly[- ]stop\w* (?:once|when|at)\b",
}
_PREFERENCE = re.compile(
    r"\bdpoj?\b|\borpo\b|\bpreference (?:learning|tuning|optimi[sz]ation|pairs?|data|training)\b|\bdelta learning\b",
    re.I,
)
_CLASSIFY = re.compile(
    r"\bclassif\w+|\bcategori[sz](?:e|es|ing|ation)\b|\bintent (?:detection|recognition)\b|\brouting (?:task"
    r"|model)\b|\blabel prediction\b|\bsentiment analysis\b",
    re.I,
)
_SFT = re.compile(
    r"\bsftj?\b|\bsupervised\b|\bfine-?\s?tun\w*|\bfinetun\w*|\b(?:re)?train(?:ing)? (?:a |an |the |my |our |on "
    r"|with |it |me |us )|\btrain (?:qwen|llama|gemma|ember|accounts)"
    r"|\bimprov(?:e|ing)\b|\btun(?:e|ing) (?:a |an |the |my |our |qwen|llama|gemma)|\blora\b(?= adapter| on|$)"
    r"|\badapt (?:a |the )",
    re.I,
)
_ASK = re.compile(
    r"^(?:please |can you |could you |would you )?(?:which|what|how|why|when|where|who|is|are|does|do(?= (?:you|we"
    r"|i|they|the))|did|has|have|will|should|list|show|tell|explain|describe|compare costs?|give me (?:a list"
    r"|the status|an overview))\b",
    re.I,
)
_THEN = re.compile(r"\bthen\b|\bafter(?:wards| that)\b|\bfollowed by\b|\bnext,", re.I)


def interpret(text: str) -> Intent:
    """Read an instruction or a change request. What is not said stays None; `missing` lists required inputs "
    "not given."""
    plain = normalise(text)
    values = find_fields(plain)
    unsupported = find_unsupported(plain)
    workflow = "unsupported" if unsupported else find_workflow(plain, values)
    values["unsupported"] = unsupported
    values["workflow"] = workflow
    if workflow == "question":
        return Intent(workflow=workflow, question=text.strip(), base_models=values.get("base_models"))
    if workflow == "evaluator":
        values |= _authoring(plain, values)
    elif values.get("evaluation") == "generated":
        values["scoring_intent"] = find_inline_intent(plain)
    intent = Intent.model_validate({name: value for name, value in values.items() if value is not None})
    intent.missing = list_missing(intent)
    return intent


def find_fields(plain: str) -> dict[str, Any]:
    """Every field but workflow, from normalised text."""
    roles, plain = take_roles(plain)
    datasets = find_datasets(plain)
    bare = re.sub(r"accounts/\S+", "NAME", plain)
    values: dict[str, Any] = {"train_dataset": datasets.train, "eval_dataset": datasets.evaluation}
    values["base_models"] = _only_models(plain) or find_models(plain) or None
    values |= {name: find(bare) for name, find in FINDERS.items()}
    values |= find_evaluation(plain) | roles
    values["labels"] = find_labels(bare)
    values |= find_label_settings(bare)
    values |= find_sweep_settings(bare)
    values["unread"] = find_unread(bare)
    values["preference_method"] = _method(plain)
    for name, pattern in _FLAGS.items():
        if match := re.search(pattern, bare, re.I):
            values[name] = not _double_negation(bare, match)
    if values["labels"]:
        values["label_count"] = None
    if values.get("stop_at_target") and not values["target"]:
        values["stop_at_target"] = None
    return values


def find_workflow(plain: str, values: dict[str, Any]) -> Workflow | None:
    """Which workflow is asked for; None when the text is only a setting or is not understood."""
    if is_authoring(plain) and not _authoring_is_second(plain):
        return "evaluator"
    if _is_question(plain):
        return "question"
    if _said(_PREFERENCE, plain):
        return "preference"
    acts = bool(values["train_dataset"]) or _said(_SFT, plain)
    asked = re.search(r"\b(?:sft|supervised)\b", plain, re.I)
    settings = any(values.get(name) for name in ("labels", "imbalance_threshold", "benchmark_only", "label_count"))
    if not asked and (_said(_CLASSIFY, plain) or (settings and values["train_dataset"])):
        return "classification"
    if acts and _said(_SFT, plain) and not values.get("benchmark_only"):
        return "sft" if values["train_dataset"] or not _only_setting(plain) else None
    return None


def list_missing(intent: Intent) -> list[str]:
    """Required inputs that were not given, by workflow [A122, A124, A157, A180, A202]."""
    needed: dict[str, tuple[str, ...]] = {
        "sft": ("train_dataset", "base_models"),
        "classification": ("train_dataset", "base_models"),
        "preference": ("train_dataset",),
        "evaluator": ("train_dataset", *(("base_models",) if intent.then == "sft" else ())),
    }
    missing = [name for name in needed.get(intent.workflow or "", ()) if not getattr(intent, name)]
    if intent.evaluation == "evaluator" and not intent.evaluator and intent.workflow != "evaluator":
        missing.append("evaluator")
    return missing


def _only_models(plain: str) -> list[str]:
    """ "Compare A and B. Only fine-tune A, skip the base-vs-base comparison": one candidate [A198]."""
    if not re.search(
        r"\b(?:skip|no|without)\b[^.]{0,20}\b(?:base|model)[- ](?:vs\.?|versus)?[^.]{0,12}compar", plain, re.I
    ):
        return []
    match = re.search(r"\bonly (?:fine-?tune|tune|train|use)\b[^.]*?(?=,|\.|;| and skip|$)", plain, re.I)
    return find_models(match[0]) if match else []


def _authoring(plain: str, values: dict[str, Any]) -> dict[str, Any]:
    then = None
    if (match := _THEN.search(plain)) and "evaluator" in plain[: match.start()].lower():
        rest = plain[match.end() :]
        found: list[tuple[re.Pattern[str], Workflow]] = [
            (_PREFERENCE, "preference"),
            (_CLASSIFY, "classification"),
            (_SFT, "sft"),
        ]
        then = next((workflow for pattern, workflow in found if pattern.search(rest)), None)
    chained = {"evaluation": "evaluator"} if then and uses_that_evaluator(plain) else {"evaluation": None}
    return {
        "then": then,
        "evaluator_kind": evaluator_kind(plain),
        "scoring_intent": find_scoring_intent(plain, _sets),
        **chained,
    }


def _sets(sentence: str) -> bool:
    return any(value is not None for value in find_fields(sentence).values())


def _authoring_is_second(plain: str) -> bool:
    """ "Run SFT on ... Generate an evaluator": the evaluator serves the run, it is not the goal."""
    head = re.split(r"\bevaluator\b", plain, maxsplit=1, flags=re.I)[0]
    head = re.sub(r"accounts/\S+", "NAME", head)
    before = re.split(r"\b(?:generat|writ|build|creat|author|mak|draft)\w*\b", head, flags=re.I)
    return bool(_said(_SFT, " ".join(before[:-1])) or _said(_CLASSIFY, " ".join(before[:-1])))


def _is_question(plain: str) -> bool:
    first = re.split(r"(?<=[.!?])\s", plain, maxsplit=1)[0]
    if re.match(r"(?:please )?(?:can|could|would|will) you\b", plain, re.I) and _said(_SFT, plain):
        return False
    polite = re.sub(r"^(?:please |can you |could you |would you )", "", first, flags=re.I)
    return bool(_ASK.match(polite)) or (
        plain.endswith("?") and not re.match(r"(?:please )?(?:run|fine|train|generate|use)\b", plain, re.I)
    )


def _only_setting(plain: str) -> bool:
    """ "Train each candidate for 3 epochs." sets something; it does not ask for a run."""
    return bool(
        re.search(
            r"\btrain (?:each|every|the|all) (?:candidate|config|run)|\bonly fine-?tune\b|\btraining jobs\b",
            plain,
            re.I,
        )
    )


def _method(plain: str) -> str | None:
    for method in ("orpo", "dpo"):
        match = re.search(rf"\b{method}j?\b", plain, re.I)
        if match and not negated(plain, match.start(), reach=3):
            return method
    return None


def _said(pattern: re.Pattern[str], plain: str) -> bool:
    return any(not negated(plain, match.start(), reach=3) for match in pattern.finditer(plain))


def _double_negation(text: str, match: re.Match[str]) -> bool:
    return bool(re.match(r"skip|omit|avoid|leave|forget|stop|generat|sweep", match[0], re.I)) and negated(
        text, match.start(), reach=2
    )
