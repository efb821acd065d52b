"""Who judges: a model where one is named or a rubric was given, else a rule that anybody can check [A170]."""

from collections.abc import Sequence
from typing import Any, Literal

import prompts
from pilotlight.errors import FailedPrecondition
from runner.judging.question import Known
from runner.judging.rules import FormRule, ReferenceRule, telling_metric
from runner.judging.traits import observe
from runner.planning.catalogue import BaseFacts, find_base
from runner.planning.judge_task import JudgeTask
from runner.planning.recipe import EvaluatorUse


def choose_judge(
    intent: dict[str, Any], known: Sequence[BaseFacts], pairs: Sequence[Known], planner: str = ""
) -> JudgeTask:
    """`known` are the platform's base models, `pairs` those of the training side: none where they are yet to be made.

    `planner` is the planner's own model, where it can be called at a known price: it judges unless another is named.

    Raises FailedPrecondition for a judge that the platform does not have.
    """
    named, rubric = intent.get("judge_model"), str(intent.get("rubric") or "")
    own = prompts.render("rubric.md.j2", traits=observe(pairs), pairs=len(pairs)).strip()
    origin: Literal["given", "own"] = "given" if rubric else "own"
    if planner and not named:
        return JudgeTask(kind="planner", criterion=rubric or own, origin=origin, planner=planner, name=planner)
    if not named and not rubric:
        if pairs:
            metric = telling_metric([pair.preferred for pair in pairs])
            return JudgeTask(kind="reference", criterion=ReferenceRule(metric).criterion, origin="own", metric=metric)
        return JudgeTask(kind="form", criterion=FormRule.criterion, origin="own")
    model = named_base(str(named), known, "judge") if named else largest(known)
    return JudgeTask(kind="model", criterion=rubric or own, origin=origin, model=model, name=model.id)


def judge_by(evaluator: EvaluatorUse) -> JudgeTask:
    """Each answer is scored for itself, and the higher score wins."""
    criterion = f"The better answer is the one that the evaluator ({evaluator.title}) scores higher."
    return JudgeTask(
        kind="evaluator",
        criterion=criterion,
        origin="given",
        digest=evaluator.digest,
        requirements=evaluator.requirements,
        name=f"evaluator {evaluator.name}",
    )


def named_base(name: str, known: Sequence[BaseFacts], role: str) -> BaseFacts:
    """The base model that is named for a role. Raises FailedPrecondition where the platform does not have it."""
    found = find_base(name, list(known))
    if found is None:
        raise FailedPrecondition(
            f"There is no base model {name} to be the {role} model.",
            hint=f"This platform has {', '.join(base.id for base in known)}.",
        )
    return found


def largest(known: Sequence[BaseFacts]) -> BaseFacts:
    """The base model with the most parameters."""
    return max(known, key=lambda base: (base.parameters or 0, base.id))


def smallest(known: Sequence[BaseFacts]) -> BaseFacts:
    """The base model with the fewest parameters."""
    return min(known, key=lambda base: (base.parameters or 0, base.id))
