"""Answers to questions, from what the platform and the ledger say now [A15, A20]; what is not known is said so."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import prompts
from pilotlight.plan import Plan
from runner.data.store import load_facts
from runner.interpreter.models import find_models
from runner.planning.catalogue import BaseFacts, find_base, list_bases, list_resources
from runner.planning.missing import option_cost
from runner.turn import Turn

SHOWN = 20
"""Rows of a table in an answer; events are bounded in size."""
_WORDS: dict[str, str] = {
    "datasets": r"datasets?\b|\bdata ?sets?\b",
    "jobs": r"\bjobs?\b|\b(?:training|tuning) runs?\b",
    "deployments": r"\bdeploy\w*|\bendpoints?\b|\breplicas?\b",
    "cost": r"\bcosts?\b|\bspen[dt]\w*|\bprices?\b|\bpricing\b|\bbudget\b|\bexpensive\b|\bcheap\w*|\bhow long\b",
    "tuned": r"\b(?:my|our|tuned|trained|fine-?tuned) (?:own )?(?:models?|adapters?)\b|\bloras?\b",
    "evaluators": r"\bevaluators?\b",
    "scoreboard": r"\bwinner\b|\bwon\b|\bwin\b|\bscoreboard\b|\bcandidates?\b|\bresults?\b",
}
_BASES = re.compile(r"\bmodels?\b|\bbase\b|\bsupport\w*", re.I)


def answer(turn: Turn, question: str, intent: dict[str, Any]) -> str:
    """Markdown with a part for everything the question names, told apart by its words; nothing is spent for it.

    `intent` is what was asked for so far: what it would cost with a base model that the question names is told.
    """
    topics = [topic for topic, words in _WORDS.items() if re.search(words, question, re.I)]
    bases = list_bases(turn.client, turn.context.account)
    named = _find_named(question, bases)
    if "tuned" not in topics and (_BASES.search(question) or named):
        topics.append("bases")
    offers = _cost_with(turn, named, intent) if "cost" in topics else {}
    found = {topic: _FINDERS[topic](turn) for topic in topics if topic in _FINDERS}
    return prompts.render(
        "answer.md.j2",
        topics=topics,
        found=found,
        bases=bases,
        offers=offers,
        question=question,
        shown=SHOWN,
        **_cost(turn),
    )


def _cost_with(turn: Turn, named: list[BaseFacts], intent: dict[str, Any]) -> dict[str, str]:
    """By base model: the preview's total, once the data has been looked at."""
    facts = load_facts(turn.workspace, "train") or {}
    known = bool(facts) and facts.get("name") == intent.get("train_dataset")
    return {base.id: option_cost(turn, intent, base) for base in named} if known else {}


def _find_named(question: str, bases: list[BaseFacts]) -> list[BaseFacts]:
    """The base models that a question names."""
    words = [*re.findall(r"[\w./-]*[\w]", question), *find_models(question)]
    found = [base for word in words if (base := find_base(word, bases)) is not None]
    return list({base.name: base for base in found}.values())


def _cost(turn: Turn) -> dict[str, Any]:
    """What was spent, and the plan with its estimate where there is one."""
    kept = turn.workspace.read_json("plan.json")
    return {
        "cost": turn.client.get("/turn/v1/cost"),
        "plan": Plan.model_validate(kept) if kept else None,
        "prices": turn.context.prices,
    }


def _own(collection: str) -> Callable[[Turn], list[dict[str, Any]]]:
    def find(turn: Turn) -> list[dict[str, Any]]:
        return list_resources(turn.client, turn.context.account, collection)

    return find


def _jobs(turn: Turn) -> list[dict[str, Any]]:
    """Training jobs of both kinds, the newest first."""
    found = [job for kind in ("supervisedFineTuningJobs", "dpoJobs") for job in _own(kind)(turn)]
    rows = [{**job.get("trainingConfig", {}), **job, "usd": _usd(job)} for job in found]
    return sorted(rows, key=lambda job: str(job.get("createTime", "")), reverse=True)


def _usd(job: dict[str, Any]) -> Decimal | None:
    money: dict[str, Any] | None = job.get("estimatedCost")
    return None if money is None else Decimal(str(money.get("units") or 0)) + Decimal(money.get("nanos") or 0) / 10**9


def _tuned(turn: Turn) -> list[dict[str, Any]]:
    return [model for model in _own("models")(turn) if model.get("kind") == "HF_PEFT_ADDON"]


def _scoreboard(turn: Turn) -> str:
    path = turn.workspace.root / "outputs" / "scoreboard.md"
    return path.read_text("utf-8") if path.exists() else ""


_FINDERS: dict[str, Callable[[Turn], Any]] = {
    "datasets": _own("datasets"),
    "jobs": _jobs,
    "deployments": _own("deployments"),
    "tuned": _tuned,
    "evaluators": _own("evaluators"),
    "scoreboard": _scoreboard,
}
