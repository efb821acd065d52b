"""The plan of pairs that are yet to be made: prompts on two sides, who answers them, how large the pairs may get."""

import math
from typing import Any, NamedTuple

from pilotlight.clock import now
from pilotlight.errors import FailedPrecondition
from runner.calls import external_id
from runner.data.sides import SideMaker, Sides, Source, check_size, divide
from runner.data.split import HELDOUT_SHARE, choose_sample
from runner.planning.catalogue import BaseFacts
from runner.planning.judge_costing import judging_seconds, writing_seconds
from runner.planning.judge_task import DeltaTask, JudgeTask
from runner.planning.plan_judge import largest, named_base, smallest
from runner.planning.recipe import DataSide
from runner.planning.timing import hours_for
from runner.turn import Turn

MOST_PROMPTS = 1000
"""Prompts that pairs are made from, at most: each is answered twice and judged twice."""
_ANSWER_TOKENS = 256
_LEAST_PROMPTS = 10


class PromptSides(NamedTuple):
    """The prompts that pairs are made from, and those that are held out of it."""

    prompts: DataSide
    unseen: DataSide


def split_prompts(turn: Turn, intent: dict[str, Any], source: Source, evaluation: Source | None) -> PromptSides:
    """Write both sides; equal prompts stay on one. Raises FailedPrecondition where there are too few."""
    train_at, unseen_at = divide(source, evaluation, intent.get("train_fraction"))
    unseen_rows = len(unseen_at) if evaluation is None else evaluation.profile.usable
    check_size(len(train_at), unseen_rows)
    if len(train_at) < _LEAST_PROMPTS:
        raise FailedPrecondition(
            f"{len(train_at)} prompts are too few rows to make pairs from; at least {_LEAST_PROMPTS} are needed.",
            hint="Give a larger dataset.",
        )
    chosen = choose_sample(len(train_at), MOST_PROMPTS)
    maker = SideMaker(turn.workspace, (turn.context.account, turn.context.session), source)
    prompts = maker.make("prompts", [at for place, at in enumerate(train_at) if place in chosen])
    if evaluation is None:
        return PromptSides(prompts, maker.make("unseen", unseen_at))
    return PromptSides(prompts, maker.reuse(evaluation).model_copy(update={"file": evaluation.path.name}))


def plan_delta(intent: dict[str, Any], sides: PromptSides, known: list[BaseFacts], judge: JudgeTask) -> DeltaTask:
    """Who answers, how long answers may be, and for how many hours. The larger base model is the strong one.

    Raises FailedPrecondition where the two would be the same model, or one that the platform does not have.
    """
    strong, weak = (
        named_base(str(intent[field]), known, role) if intent.get(field) else default(known)
        for field, role, default in (("strong_model", "strong", largest), ("weak_model", "weak", smallest))
    )
    if strong.name == weak.name:
        raise FailedPrecondition(
            f"Pairs are made from the difference between two models, and {strong.id} would be both.",
            hint="Name two, for example `use ember-1m as the strong model and ember-500k as the weak model`.",
        )
    contexts = [base.context_length // 4 for base in (strong, weak, judge.model) if base and base.context_length]
    most, prompts = min([_ANSWER_TOKENS, *contexts]), sides.prompts
    times = [writing_seconds(base, prompts.rows, prompts.mean_prompt_tokens, most) or 0.0 for base in (strong, weak)]
    judged = judge.model and judging_seconds(
        judge.model, prompts.rows, prompts.mean_prompt_tokens, most, judge.criterion
    )
    return DeltaTask(
        strong=strong,
        weak=weak,
        made=now().strftime("%Y%m%dt%H%M%Sz"),
        prompts=str(prompts.file),
        rows=prompts.rows,
        unseen=str(sides.unseen.file),
        unseen_rows=sides.unseen.rows,
        most=most,
        mean_prompt_tokens=prompts.mean_prompt_tokens,
        hours=hours_for(max(times)),
        judge_hours=hours_for(judged),
    )


def expected_sides(turn: Turn, delta: DeltaTask) -> Sides:
    """The sides as they would be if every prompt made a pair of the longest answers: the most that is trained on."""
    heldout = max(3, round(delta.rows * HELDOUT_SHARE))
    train = _expected(turn, delta, f"pairs-{delta.made}", max(3, delta.rows - heldout))
    return Sides(train, train, _expected(turn, delta, f"pairs-heldout-{delta.made}", heldout))


def _expected(turn: Turn, delta: DeltaTask, step: str, rows: int) -> DataSide:
    scale = min(base.token_scale for base in (delta.strong, delta.weak))
    answer = math.ceil(delta.most / scale)
    name = f"accounts/{turn.context.account}/datasets/{external_id(turn.context.session, step)}"
    return DataSide(
        name=name,
        rows=rows,
        tokens=rows * 2 * (delta.mean_prompt_tokens + answer),
        longest_answer_tokens=answer,
        mean_prompt_tokens=delta.mean_prompt_tokens,
        mean_answer_tokens=answer,
    )
