"""Answers to questions, from what the platform and the ledger say now [A15, A20]; what is not known is said so."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import prompts
from pilotlight.plan import Plan
from runner.planning.catalogue import find_base, list_bases, list_resources
from runner.turn import Turn

SHOWN = 20
"""Rows of a table in an answer; events are bounded in size."""
_WORDS: dict[str, str] = {
    "datasets": r"datasets?\b|\bdata ?sets?\b",
    "jobs": r"\bjobs?\b|\b(?:training|tuning) runs?\b",
    "deployments": r"\bdeploy\w*|\bendpoints?\b|\breplicas?\b",
    "cost": r"\bcosts?\b|\bspen[dt]\w*|\bprices?\b|\bpricing\b|\bbudget\b|\bexpensive\b|\bcheap\w*|\bhow long\b",
    "tuned": r"\b(?:my|our|tuned|trained|fine-?tuned) (?:own )?(?:models?|adapters?)\b|\bloras?\b",
    "scoreboard": r"\bwinner\b|\bwon\b|\bwin\b|\bscoreboard\b|\bcandidates?\b|\bresults?\b",
}
_BASES = re.compile(r"\bmodels?\b|\bbase\b|\bsupport\w*", re.I)


def answer(turn: Turn, question: str) -> str:
    """Markdown with a part for everything the question names, told apart by its words; nothing is spent for it."""
    topics = [topic for topic, words in _WORDS.items() if re.search(words, question, re.I)]
    bases = list_bases(turn.client, turn.context.account)
    if "tuned" not in topics and (_BASES.search(question) or find_named(question, bases)):
        topics.append("bases")
    found = {topic: _FINDERS[topic](turn) for topic in topics if topic in _FINDERS}
    return prompts.render(
        "answer.md.j2", topics=topics, found=found, bases=bases, question=question, shown=SHOWN, **_cost(turn)
    )


def find_named(question: str, bases: list[Any]) -> list[Any]:
    """The base models that a question names."""
    words = re.findall(r"[\w./-]*[\w]", question)
    return [base for word in words if (base := find_base(word, bases)) is not None]


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
    "scoreboard": _scoreboard,
}
