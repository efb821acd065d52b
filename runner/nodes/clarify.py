"""One question for everything that is missing or cannot be done as asked, with a recommended default each."""

from typing import Any

from langgraph.types import Command

import prompts
from pilotlight.question import Question, QuestionKind
from runner import catalogue_answers
from runner.intents import merge, read_text
from runner.nodes import gate
from runner.nodes.begin import clarify_reason
from runner.planning.grid import without_impossible
from runner.planning.missing import build_fields, explain
from runner.replies import accepts, read_fields
from runner.state import State
from runner.turn import Turn


def propose(turn: Turn, state: State) -> Command[str]:
    """Ask."""
    reason = str(state.get("clarify", {}).get("reason", "missing"))
    note = str(state.get("clarify", {}).get("note", ""))
    intent = state.get("intent", {})
    fields = build_fields(turn, intent, reason)
    identifier = gate.question_id(state, "input")
    text = explain(turn, intent, reason, note, fields)
    if state.get("clarify", {}).get("unclear"):
        text = prompts.render("unclear.md.j2") + "\n" + text
    question = Question(question_id=identifier, kind=QuestionKind.MISSING_INPUT, text=text, fields=fields)
    pending = gate.put(turn, question)
    return Command(goto="clarify_gate", update={"pending": pending, "asked": state.get("asked", 0) + 1})


def act(turn: Turn, state: State) -> Command[str]:
    """Merge the answer: given values, what the control process read, and the plain words."""
    question, answer = gate.take(turn, state)
    intent = state.get("intent", {})
    said = read_text(answer.text) if answer.text.strip() else {}
    said |= {name: value for name, value in answer.changes.items() if value is not None}
    if said.get("workflow") == "question":
        text = catalogue_answers.answer(turn, answer.text, intent)
        turn.say(text, f"clarify/{state.get('asked', 0)}")
        return Command(goto="clarify_propose")
    said |= read_fields(question, answer, said)
    merged = merge(intent, said)
    if state.get("clarify", {}).get("reason") == "values" and accepts(answer.text):
        merged, said = without_impossible(merged), {"values": "defaults"}
    if not said and state.get("clarify", {}).get("reason") == "evaluator":
        merged, said = merge(intent, {"scoring_intent": answer.text.strip()}), {"scoring_intent": answer.text}
    if not said:
        return Command(goto="clarify_propose", update={"clarify": state.get("clarify", {}) | {"unclear": True}})
    if state.get("clarify", {}).get("reason") in ("unsupported", "workflow", "evaluation"):
        merged = _without_refused(merged, said)
    if merged.get("workflow") == "evaluator" and said.get("evaluation") == "validation_loss":
        merged["workflow"] = merged.get("then") or "sft"  # without an evaluator after all
    reason = clarify_reason(merged)
    update: State = {"intent": merged, "clarify": {"reason": reason} if reason else {}}
    return Command(goto="clarify_propose" if reason else "inspect", update=update)


def _without_refused(merged: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """A refused wish stays refused unless it is said again."""
    dropped = {name for name in ("unsupported", "evaluation", "evaluator") if name not in said}
    kept = {name: value for name, value in merged.items() if name not in dropped}
    if "workflow" not in said or said["workflow"] in ("question", "unsupported"):
        kept["workflow"] = "sft"
    return kept
