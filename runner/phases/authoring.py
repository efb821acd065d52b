"""An evaluator as the whole work, or as the first part of it: staged data, two files, no cost [A103, A208]."""

from langgraph.types import Command

import prompts
from pilotlight.plan import Phase
from runner.evaluators import author
from runner.evaluators.kept import SOURCE, Record
from runner.evaluators.scores import EvaluatorUnfit
from runner.phases import inspect
from runner.state import State
from runner.turn import Turn

_REST = (Phase.SWEEP, Phase.TRAIN, Phase.EVALUATE, Phase.DEPLOY, Phase.REPORT)


def run(turn: Turn, state: State) -> Command[str]:
    """To the end; to planning when more work follows in the same session; to clarify when it cannot be written."""
    intent, generation = state.get("intent", {}), state.get("generation", 1)
    command = inspect.run(turn, state)
    if command.goto != "plan_propose":
        return command
    try:
        record = author.provide(turn, intent)
    except EvaluatorUnfit as error:
        return Command(goto="clarify_propose", update={"clarify": {"reason": "evaluator", "note": str(error)}})
    follows = intent.get("then")
    if follows == "sft":
        more = {"workflow": follows, "evaluation": "evaluator", "evaluator": SOURCE, "then": None}
        return Command(goto="plan_propose", update={"intent": {**intent, **more}})
    if follows:
        turn.say(prompts.render("evaluator_unused.md.j2", workflow=follows), f"evaluator/{generation}/unused")
        rest = {"workflow": follows, "evaluation": None, "then": None}
        return Command(goto="inspect", update={"intent": {**intent, **rest}})
    return _end(turn, record, generation)


def _end(turn: Turn, record: Record, generation: int) -> Command[str]:
    turn.phase(Phase.PLAN, "skipped", generation, reason="nothing is created or spent, so there is nothing to approve")
    for phase in _REST:
        turn.phase(phase, "skipped", generation, reason="you asked for an evaluator only")
    turn.finish("succeeded", prompts.render("evaluator_done.md.j2", record=record))
    # Whatever follows in this session is announced anew: the phases of this generation are told as skipped.
    return Command(goto="__end__", update={"generation": generation + 1})
