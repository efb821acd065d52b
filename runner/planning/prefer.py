"""The plan of preference learning: a grid of betas and learning rates, or one setting for each of several base models.

The runs of the sweep are the training: there is no further one, unless the user wants the sweep on a part of the pairs.
"""

from typing import Any, NamedTuple

from pilotlight.plan import Phase
from pilotlight.tasks import Goal, PairMaking, Preference
from runner.planning.choices import FIRST_HOUR, Choices
from runner.planning.draft import Draft, Form, Inputs, draft_with, no_sweep, resolve, split_text
from runner.planning.grid import build_pair_grid, default_epochs
from runner.planning.judge_costing import judged_seconds
from runner.planning.judge_requests import judged_prompts
from runner.planning.judge_task import DeltaTask, JudgeTask
from runner.planning.offers import Offer
from runner.planning.pair_costing import price_pairs, trial_seconds
from runner.planning.recipe import PairTask, Recipe
from runner.planning.timing import hours_for
from runner.planning.values import list_pair_values

HELDOUT_PAIRS = 150
"""Pairs that every model is asked, at most."""
GOALS = ("accuracy", "eval_loss", "win_rate")
"""Metrics of a goal that are measured."""
SWEEP_IS_TRAINING = "the runs of the sweep are the training, on the whole training side"


class Facts(NamedTuple):
    """What a preference plan follows from, beside what every plan does."""

    longer: float
    """The share of pairs that prefer the longer answer."""
    known: list[str]
    """All base models of the platform, where the user named none."""
    judge: JudgeTask
    delta: DeltaTask | None
    """Set where the pairs are yet to be made."""


def draft_preference(inputs: Inputs, facts: Facts) -> Draft:
    """Resolve, price and, if need be, cut. Raises FailedPrecondition when even the smallest plan is over budget."""

    def fields(inputs: Inputs, recipe: Recipe, band: str, done: list[str]) -> dict[str, Any]:
        return _fields(inputs, recipe, band, done) | {"preference": _preference(inputs, recipe, facts)}

    def resolved(inputs: Inputs, choices: Choices) -> Recipe:
        return _resolve(inputs, choices, facts)

    return draft_with(Form(_choose, resolved, price_pairs, fields, _no_offers), inputs)


def _no_offers(intent: dict[str, Any], choices: Choices) -> list[Offer]:
    """Of what other sweeps could be, nothing fits: rank is fixed, and losses with another beta cannot be compared."""
    return []


def goal_of(intent: dict[str, Any]) -> Goal | None:
    """What the user wants to be reached; None when nothing was said."""
    target = intent.get("target")
    if not target:
        return None
    measured = target["metric"] in GOALS and not isinstance(target["value"], str)
    stops = bool(intent.get("stop_at_target")) and measured
    return Goal(metric=target["metric"], op=target["op"], value=target["value"], stops=stops, measured=measured)


def method_of(intent: dict[str, Any]) -> str:
    """DPO unless ORPO was asked for."""
    return str(intent.get("preference_method") or "dpo").upper()


def _choose(inputs: Inputs) -> Choices:
    intent, sides = inputs.intent, inputs.sides
    epochs = intent.get("epochs")
    rows = sides.sample.rows
    grid = build_pair_grid(inputs.bases, intent, method_of(intent), float(epochs or default_epochs(rows)))
    return Choices(
        candidates=tuple(grid.candidates),
        final_epochs=float(epochs or default_epochs(sides.train.rows)),
        prompts=min(HELDOUT_PAIRS, sides.heldout.rows),
        deployment_hours=FIRST_HOUR,
        epochs_set=epochs is not None,
        grid_set=grid.ranks_set or grid.rates_set or len(inputs.bases) > 1,
    )


def _resolve(inputs: Inputs, choices: Choices, facts: Facts) -> Recipe:
    recipe = resolve(inputs, choices)
    if facts.delta:
        recipe = recipe.model_copy(update={"answer_tokens": facts.delta.most})
    task = PairTask.model_validate(
        {"method": method_of(inputs.intent), "trial_hours": 0.0, "goal": goal_of(inputs.intent)}
        | {"judge": facts.judge, "delta": facts.delta}
    )
    whole = recipe.sample.name == recipe.train.name
    reason = recipe.final_reason or (SWEEP_IS_TRAINING if recipe.sweep and whole else "")
    recipe = recipe.model_copy(
        update={
            "workflow": "preference",
            "pairs": task,
            "final": not reason,
            "final_reason": reason,
            "prune": False,  # losses with another beta cannot be compared
        }
    )
    hours = max(hours_for(trial_seconds(recipe, base, len(recipe.tuned_from(base.name)))) for base in recipe.bases)
    once = max(hours_for(trial_seconds(recipe, base, 1)) for base in recipe.bases)
    judging = judged_seconds(recipe, len(recipe.candidates))
    judge = task.judge.model_copy(update={"hours": hours_for(judging)})
    task = task.model_copy(update={"trial_hours": hours, "judge": judge})
    return recipe.model_copy(update={"pairs": task, "evaluation_hours": once})


def _fields(inputs: Inputs, recipe: Recipe, band: str, done: list[str]) -> dict[str, Any]:
    making = recipe.preference.delta
    skipped = {} if recipe.sweep or making else {Phase.SWEEP: no_sweep(inputs.intent, done)}
    split = split_text(inputs).replace(
        "equal texts stay", "equal prompts stay" if making else "pairs of one prompt stay"
    )
    return {
        "workflow": "preference",
        "values": list_pair_values(recipe, inputs.intent, inputs.token_method, band),
        "skipped": skipped if recipe.final else skipped | {Phase.TRAIN: recipe.final_reason},
        "split": split,
        "packages": recipe.preference.judge.requirements,
    }


def _preference(inputs: Inputs, recipe: Recipe, facts: Facts) -> Preference:
    judge, delta = recipe.preference.judge, recipe.preference.delta
    swept = not inputs.intent.get("base_models") and len(recipe.bases) > 1
    taken = {base.name for base in recipe.bases}
    return Preference(
        method=recipe.preference.method,
        pairs=0 if delta else inputs.sides.train.rows + inputs.sides.heldout.rows,
        longer_preferred=round(facts.longer, 4),
        swept_bases=swept,
        left_out=[name for name in facts.known if name not in taken] if swept else [],
        goal=recipe.preference.goal,
        judge=judge.name,
        criterion=judge.criterion,
        given=judge.origin == "given",
        judged_prompts=judged_prompts(recipe),
        making=_making(delta) if delta else None,
    )


def _making(delta: DeltaTask) -> PairMaking:
    return PairMaking(
        strong=delta.strong.name,
        weak=delta.weak.name,
        prompts=delta.rows,
        unseen=delta.unseen_rows,
        most_tokens=delta.most,
    )
