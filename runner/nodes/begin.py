"""Read what the user said since the last time and decide where the work starts."""

from langgraph.types import Command

from pilotlight.plan import Phase
from runner import catalogue_answers
from runner.evaluators.kept import SOURCE
from runner.intents import DECLINED_WORKFLOWS, changes_of, merge, read_text
from runner.limits import as_update, retry_of
from runner.state import GRAPH_VERSION, State
from runner.steering import unread
from runner.turn import Turn


def begin(turn: Turn, state: State) -> Command[str]:
    """Merge new instructions into the intent. To inspect, or to clarify, or (a mere question) to the end.

    A question that something else was said after is answered on the way.
    """
    fresh, seen = unread(turn, state), len(turn.context.said())
    intent = state.get("intent", {})
    retry = retry_of(state)
    if retry and fresh and not any(changes_of(intent, read_text(text)) for text in fresh):
        return Command(goto=retry.goto, update={**as_update(retry), "seen": seen})
    for number, text in enumerate(fresh, 1):
        if number > 1 and (asked := intent.get("question")):
            turn.say(catalogue_answers.answer(turn, str(asked), intent), f"answer/{seen - len(fresh) + number - 1}")
        intent = merge(intent, read_text(text))
    update: State = {"graph_version": GRAPH_VERSION, "seen": seen, "intent": intent, "clarify": {}, "trouble": {}}
    update |= next_generation(state)
    if intent.get("question"):
        return Command(goto="answer", update=update)
    reason = clarify_reason(intent)
    if reason:
        return Command(goto="clarify_propose", update={**update, "clarify": {"reason": reason}})
    return Command(goto="inspect", update=update)


def next_generation(state: State) -> State:
    """After an approved plan, whatever is planned next gets names of its own."""
    if state.get("approved"):
        return {"generation": state.get("generation", 1) + 1, "approved": False}
    return {"generation": state.get("generation", 1)}


def clarify_reason(intent: dict[str, object]) -> str:
    """Why the intent alone cannot be planned yet; empty when it can."""
    workflow = intent.get("workflow")
    if intent.get("unsupported"):
        return "unsupported"
    if workflow in DECLINED_WORKFLOWS:
        return "workflow"
    if reason := _evaluation_reason(intent):
        return reason
    return "" if intent.get("train_dataset") else "missing"


def _evaluation_reason(intent: dict[str, object]) -> str:
    """Why the winner cannot be chosen the way that was asked for; empty when it can."""
    evaluation, evaluator = intent.get("evaluation"), intent.get("evaluator")
    if evaluation in (None, "validation_loss") or intent.get("workflow") == "evaluator":
        return ""
    if intent.get("workflow") == "preference" and (evaluation == "rubric" or evaluator):
        return ""
    if evaluation == "rubric" or intent.get("workflow") in ("classification", "preference"):
        return "evaluation"
    if evaluation == "generated" or evaluator == SOURCE:
        return ""
    return "" if evaluator else "which_evaluator"


def answer(turn: Turn, state: State) -> Command[str]:
    """Answer a question about the platform; nothing is planned and nothing is spent."""
    intent = state.get("intent", {})
    text = catalogue_answers.answer(turn, str(intent.get("question", "")), intent)
    turn.say(text, f"answer/{state.get('seen', 0)}")
    for phase in Phase:
        turn.phase(phase, "skipped", state.get("generation", 1), reason="the instruction is a question")
    turn.finish("succeeded", text)
    return Command(goto="__end__")
