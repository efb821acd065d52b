"""A workflow is data: which variant each phase has, how its plan is drafted and priced, how its sweep is shown.

The graph, its gates and its node names are the same for all. What a workflow skips is in its plans, with the reason.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from langgraph.types import Command

from pilotlight.plan import Phase, PlanValue
from pilotlight.pricebook import PriceBook
from runner.comparison import Compare
from runner.evaluators.choice import choose_evaluator
from runner.phases import authoring, deploy, evaluate, inspect, report, sweep, train
from runner.phases.classification import board
from runner.phases.classification import deploy as label_deploy
from runner.phases.classification import evaluate as label_evaluate
from runner.phases.classification import inspect as label_inspect
from runner.phases.classification import report as label_report
from runner.phases.classification import sweep as label_sweep
from runner.phases.preference import compare as pair_compare
from runner.phases.preference import deploy as pair_deploy
from runner.phases.preference import evaluate as pair_evaluate
from runner.phases.preference import inspect as pair_inspect
from runner.phases.preference import report as pair_report
from runner.phases.preference import sweep as pair_sweep
from runner.phases.preference.board import scoreboard as pair_scoreboard
from runner.phases.scored import board as scored_board
from runner.phases.scored import evaluate as scored_evaluate
from runner.phases.scored import report as scored_report
from runner.phases.scored import sweep as scored_sweep
from runner.planning.catalogue import BaseFacts
from runner.planning.classify import draft_classification
from runner.planning.costing import Rest, price
from runner.planning.draft import Draft, draft_plan
from runner.planning.label_costing import price_labels
from runner.planning.pair_costing import price_pairs
from runner.planning.prepare import collect, split_data
from runner.planning.prepare_labels import collect_classification
from runner.planning.prepare_pairs import plan_preference
from runner.planning.pricing import Band
from runner.planning.recipe import Recipe
from runner.planning.scored import draft_scored, list_scored_values, price_scored
from runner.planning.sheet import Priced
from runner.planning.values import list_label_values, list_pair_values, list_values
from runner.rft import phases as rft
from runner.state import State
from runner.turn import Turn

Node = Callable[[Turn, State], Command[str]]
DEFAULT = "sft"


class Pricing(Protocol):
    """Prices a recipe, or the rest of one."""

    def __call__(
        self, recipe: Recipe, prices: PriceBook, band: Band, so_far: Decimal, rest: Rest | None = None
    ) -> Priced:
        """See runner.planning.costing.price."""
        ...


class Workflow(NamedTuple):
    """One way from a dataset to a result."""

    phases: dict[Phase, Node]
    """The nodes of the phases; planning is the gate's."""
    draft: Callable[[Turn, dict[str, Any], list[BaseFacts], int], Draft]
    """A plan for these base models; raises FailedPrecondition, with what to say to the user, where there is none."""
    price: Pricing
    values: Callable[[Recipe, dict[str, Any], str, str], list[PlanValue]]
    """The plan's values: from the recipe, the intent, how tokens were counted, and the cost range in words."""
    scoreboard: Callable[[Turn, Recipe], str]
    compare: Compare | None = None
    """What the comparison gate shows, in workflows whose evaluation leads there."""
    propose: Node | None = None
    """Asks for approval of a plan of its own kind, in workflows that train nothing."""


def _draft_sft(turn: Turn, intent: dict[str, Any], bases: list[BaseFacts], generation: int) -> Draft:
    return draft_plan(collect(turn, intent, split_data(turn, intent), bases, generation))


def _draft_classification(turn: Turn, intent: dict[str, Any], bases: list[BaseFacts], generation: int) -> Draft:
    return draft_classification(collect_classification(turn, intent, bases, generation))


def _draft_scored(turn: Turn, intent: dict[str, Any], bases: list[BaseFacts], generation: int) -> Draft:
    used = choose_evaluator(turn, intent)
    inputs = collect(turn, intent, split_data(turn, intent), bases, generation)
    return draft_scored(replace(inputs, evaluator=used))


WORKFLOWS: dict[str, Workflow] = {
    "sft": Workflow(
        phases={
            Phase.INSPECT: inspect.run,
            Phase.SWEEP: sweep.run,
            Phase.TRAIN: train.run,
            Phase.EVALUATE: evaluate.run,
            Phase.DEPLOY: deploy.run,
            Phase.REPORT: report.run,
        },
        draft=_draft_sft,
        price=price,
        values=list_values,
        scoreboard=sweep.board_of,
    ),
    "classification": Workflow(
        phases={
            Phase.INSPECT: label_inspect.run,
            Phase.SWEEP: label_sweep.run,
            Phase.TRAIN: train.run,
            Phase.EVALUATE: label_evaluate.run,
            Phase.DEPLOY: label_deploy.run,
            Phase.REPORT: label_report.run,
        },
        draft=_draft_classification,
        price=price_labels,
        values=list_label_values,
        scoreboard=board.scoreboard,
    ),
    "preference": Workflow(
        phases={
            Phase.INSPECT: pair_inspect.run,
            Phase.SWEEP: pair_sweep.run,
            Phase.TRAIN: train.run,
            Phase.EVALUATE: pair_evaluate.run,
            Phase.DEPLOY: pair_deploy.run,
            Phase.REPORT: pair_report.run,
        },
        draft=plan_preference,
        price=price_pairs,
        values=list_pair_values,
        scoreboard=pair_scoreboard,
        compare=pair_compare.compare,
    ),
    "sft_scored": Workflow(
        phases={
            Phase.INSPECT: inspect.run,
            Phase.SWEEP: scored_sweep.run,
            Phase.TRAIN: train.run,
            Phase.EVALUATE: scored_evaluate.run,
            Phase.DEPLOY: deploy.run,
            Phase.REPORT: scored_report.run,
        },
        draft=_draft_scored,
        price=price_scored,
        values=list_scored_values,
        scoreboard=scored_board.scoreboard,
    ),
}
WORKFLOWS["evaluator"] = WORKFLOWS["sft"]._replace(phases=WORKFLOWS["sft"].phases | {Phase.INSPECT: authoring.run})
"""Only the first phase runs; with `then`, planning goes on as the workflow that is named there."""
WORKFLOWS["rft_evaluator"] = WORKFLOWS["sft"]._replace(
    phases=WORKFLOWS["sft"].phases | {Phase.INSPECT: rft.prepare, Phase.SWEEP: rft.register}, propose=rft.propose
)
"""What approval leads to is registered where others begin their sweep, and then the session ends."""
SCORED = ("evaluator", "generated")
"""Ways of evaluation by which a supervised fine-tuning is the one whose candidates are scored."""


def workflow_of(intent: dict[str, Any]) -> Workflow:
    """The workflow that was asked for; supervised fine-tuning where none was named."""
    name = str(intent.get("workflow") or DEFAULT)
    if name == DEFAULT and intent.get("evaluation") in SCORED:
        name = "sft_scored"
    if name == "evaluator" and intent.get("evaluator_kind") == "rft":
        name = "rft_evaluator"
    return WORKFLOWS.get(name, WORKFLOWS[DEFAULT])


def phase_node(phase: Phase) -> Node:
    """The node of a phase: the variant of the session's workflow."""

    def node(turn: Turn, state: State) -> Command[str]:
        return workflow_of(state.get("intent", {})).phases[phase](turn, state)

    return node
