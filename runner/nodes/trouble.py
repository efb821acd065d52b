"""When work failed: say what, spend nothing more, and wait [DESIGN 7]."""

import re

from langgraph.types import Command

import prompts
from pilotlight.plan import Phase
from pilotlight.question import Option, Question, QuestionField, QuestionKind
from runner import catalogue_answers
from runner.intents import changes_of, merge, read_text
from runner.limits import retry_of
from runner.nodes import gate
from runner.nodes.begin import next_generation
from runner.replies import read_fields
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn

_AGAIN = re.compile(r"\b(?:again|retry|redo|rerun)\b", re.I)
"""A wish, however politely it asks."""
_FIELD = QuestionField(
    name="next",
    label="What now?",
    type="choice",
    options=[
        Option(value="retry", label="try again (a new plan, with its cost, comes first)"),
        Option(value="stop", label="stop here"),
    ],
)


def propose(turn: Turn, state: State) -> Command[str]:
    """Say what failed and ask."""
    trouble = state.get("trouble", {})
    turn.emit("error", {"message": trouble["message"], "hint": ""}, f"trouble/{state.get('asked', 0)}")
    text = prompts.render("trouble.md.j2", trouble=trouble)
    identifier = gate.question_id(state, "trouble")
    question = Question(question_id=identifier, kind=QuestionKind.MISSING_INPUT, text=text, fields=[_FIELD])
    pending = gate.put(turn, question)
    return Command(goto="trouble_gate", update={"pending": pending, "asked": state.get("asked", 0) + 1})


def act(turn: Turn, state: State) -> Command[str]:
    """Stop: the end, as failed. A question: its answer. Anything else: a new plan, to be approved anew."""
    question, answer = gate.take(turn, state)
    asked = read_text(answer.text).get("question")
    if asked and not _AGAIN.search(answer.text):
        text = catalogue_answers.answer(turn, str(asked), state.get("intent", {}))
        turn.say(text, f"trouble/{state.get('asked', 0)}")
        return Command(goto="trouble_propose")
    said = answer.changes or (read_text(answer.text) if answer.text.strip() else {})
    chosen = read_fields(question, answer, {}).get("next")
    words = answer.text.casefold()
    if chosen == "stop" or any(word in words.split() for word in ("stop", "cancel", "reject", "no", "quit")):
        return _fail(turn, str(state.get("trouble", {}).get("message", "")))
    said = {name: value for name, value in said.items() if name not in ("workflow", "unsupported", "question")}
    if (retry := retry_of(state)) and not changes_of(state.get("intent", {}), said):
        return retry
    update: State = {"intent": merge(state.get("intent", {}), said), "trouble": {}}
    return Command(goto="plan_propose", update={**update, **next_generation(state)})


def _fail(turn: Turn, message: str) -> Command[str]:
    generation = load_recipe(turn).generation
    for phase in (Phase.TRAIN, Phase.EVALUATE, Phase.DEPLOY, Phase.REPORT):
        turn.phase(phase, "skipped", generation, reason="the work before it failed")
    turn.finish("failed", f"Stopped after a failure, as you asked. {message}")
    return Command(goto="__end__")
