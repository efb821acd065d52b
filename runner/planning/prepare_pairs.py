"""Collect what a preference plan follows from: pairs of both sides, or prompts and who answers them."""

from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pilotlight.dataset import read_pair
from pilotlight.errors import FailedPrecondition
from runner.data.rows import read_lines, text_of
from runner.data.sides import Sides
from runner.data.store import load_facts, load_source
from runner.judging.evaluators import choose_judging_evaluator
from runner.judging.question import Known
from runner.planning.catalogue import BaseFacts, list_bases
from runner.planning.draft import Draft
from runner.planning.judge_task import DeltaTask, JudgeTask
from runner.planning.plan_delta import expected_sides, plan_delta, split_prompts
from runner.planning.plan_judge import choose_judge, judge_by
from runner.planning.prefer import Facts, draft_preference
from runner.planning.prepare import collect, split_data
from runner.turn import Turn

_EVERYTHING = 10**9
"""Without a wish of the user the sweep is not on a sample: its runs are the training."""
_OBSERVED = 5000
"""Pairs that a rubric of our own is drawn from, at most."""


class _Prepared(NamedTuple):
    sides: Sides
    judge: JudgeTask
    delta: DeltaTask | None


def plan_preference(turn: Turn, intent: dict[str, Any], bases: list[BaseFacts], generation: int) -> Draft:
    """A plan for these base models; raises FailedPrecondition, with what to say to the user, where there is none."""
    facts = load_facts(turn.workspace, "train") or {}
    scales, default = facts.get("token_scales", {}), facts.get("token_scale", 1.0)
    known = [
        base.model_copy(update={"token_scale": scales.get(base.name, default)})
        for base in list_bases(turn.client, turn.context.account)
    ]
    prepared = (_make if facts.get("prompts_only") else _find)(turn, intent, known)
    # Both conversations of a pair count as its tokens, and each of them alone has to fit into the context.
    inputs = collect(turn, intent, prepared.sides, bases, generation, without=("over_long",))
    names = [] if intent.get("base_models") else [base.name for base in known]
    return draft_preference(inputs, Facts(float(facts["longer_preferred"]), names, prepared.judge, prepared.delta))


def _find(turn: Turn, intent: dict[str, Any], known: list[BaseFacts]) -> _Prepared:
    sides = split_data(turn, {"hp_samples": _EVERYTHING} | intent)
    pairs = _known_pairs(turn.workspace.data / str(sides.train.file or _staged(turn)))
    return _Prepared(sides, _judge(turn, intent, known, pairs), None)


def _make(turn: Turn, intent: dict[str, Any], known: list[BaseFacts]) -> _Prepared:
    source = load_source(turn.workspace, "train")
    if source is None:
        raise FailedPrecondition("The dataset has not been inspected yet.")
    evaluation = load_source(turn.workspace, "eval") if intent.get("eval_dataset") else None
    judge = _judge(turn, intent, known, [])
    delta = plan_delta(intent, split_prompts(turn, intent, source, evaluation), known, judge)
    return _Prepared(expected_sides(turn, delta), judge, delta)


def _judge(turn: Turn, intent: dict[str, Any], known: list[BaseFacts], pairs: list[Known]) -> JudgeTask:
    """Raises EvaluatorUnfit, with what to say to the user, for an evaluator that cannot tell answers apart."""
    if not intent.get("evaluator"):
        return choose_judge(intent, known, pairs, _priced_planner(turn))
    return judge_by(choose_judging_evaluator(turn, str(intent["evaluator"]), pairs))


def _priced_planner(turn: Turn) -> str:
    prices = turn.context.prices.planner
    named = turn.context.planner_models[:1]
    return next((name for name in named if prices and prices.models.get(name)), "")


def _staged(turn: Turn) -> str:
    source = load_source(turn.workspace, "train")
    return source.path.name if source else ""


def _known_pairs(path: Path) -> list[Known]:
    rows = (line.value for line in islice(read_lines(path), _OBSERVED) if line.value is not None)
    pairs = [read_pair(row) for row in rows]
    return [Known(text_of(pair.preferred), text_of(pair.other)) for pair in pairs]
