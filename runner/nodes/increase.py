"""More than was approved is needed: say what met its limit, ask with a new preview, and go on where it stopped.

Nothing runs between question and answer. What is finished is kept; what was stopped is begun anew under a new name.
"""

import re
from typing import Any

from langgraph.types import Command

import prompts
from pilotlight.clock import now
from pilotlight.errors import Aborted, FailedPrecondition
from pilotlight.money import usd
from pilotlight.plan import Phase, Plan, Stop
from pilotlight.question import Answer, Decision, Question, QuestionKind
from runner import limits, results
from runner.data.store import load_facts
from runner.intents import merge, read_text
from runner.nodes import gate
from runner.nodes.approval import replan
from runner.nodes.begin import next_generation
from runner.planning.draft import Draft
from runner.planning.increase import Stopped, draft_increase, list_offers
from runner.planning.prepare import PLAN_LIFETIME
from runner.results import RECIPE, load_recipe
from runner.state import Pending, State
from runner.turn import Turn
from runner.workflows import WORKFLOWS

_CHEAPER = ("epochs", "skip_sweep", "skip_final_training", "budget_usd")
"""Changes that leave what is finished as it is; any other one is a plan of its own."""
_STOP_WORDS = ("stop", "cancel", "reject", "no", "quit")


def propose(turn: Turn, state: State) -> Command[str]:
    """Price what is left, and ask for it; when it does not fit the budget, ask for that first."""
    identifier = gate.question_id(state, "increase")
    path = _draft_path(identifier)
    found = state.get("increase", {})
    previous = str(found.get("previous") or state.get("plan_hash", ""))
    more: State = {"increase": found | {"previous": previous}}
    if turn.workspace.read_json(path) is None:
        stopped = _collect(turn, state, previous)
        try:
            draft = draft_increase(stopped)
        except FailedPrecondition as error:
            question = _budget_question(identifier, stopped, error.message)
            return _wait(gate.put(turn, question), state, more)
        turn.workspace.write_json(path, draft.as_json())
    draft = Draft.from_json(turn.workspace.read_json(path))
    turn.publish_plan(draft.plan)
    digest = draft.plan.digest()
    text = "Do you approve this increase?"
    question = Question(question_id=identifier, kind=QuestionKind.SPEND_INCREASE, text=text, plan_hash=digest)
    return _wait(gate.put(turn, question), state, {**more, "plan_hash": digest})


def act(turn: Turn, state: State) -> Command[str]:
    """Approve: on with the phase that stopped. Revise: ask again, or plan anew. Reject: the end."""
    question, answer = gate.take(turn, state)
    if question.kind is QuestionKind.MISSING_INPUT:
        return _settle_budget(turn, state, answer)
    if question.plan_hash != state.get("plan_hash"):
        raise Aborted("The answered plan is not the current one.")
    if answer.decision is Decision.APPROVE:
        draft = Draft.from_json(turn.workspace.read_json(_draft_path(question.question_id)))
        turn.workspace.write_json(RECIPE, draft.recipe.model_dump(mode="json"))
        turn.cost(f"{draft.recipe.generation}/{question.question_id}")
        return Command(goto=_phase(state).value, update={"increase": {}})
    if answer.decision is Decision.REJECT:
        return _stop(turn, state)
    return _revise(turn, state, {name: value for name, value in answer.changes.items() if value is not None})


def _collect(turn: Turn, state: State, previous: str) -> Stopped:
    stops = [Stop.model_validate(stop) for stop in state.get("increase", {})["stops"]]
    limits.wait_settled(turn, {stop.resource for stop in stops})
    cost = turn.cost(f"increase/{state.get('asked', 0)}")
    recipe = load_recipe(turn)
    facts: dict[str, Any] = load_facts(turn.workspace, "train") or {}
    return Stopped(
        context=turn.context,
        intent=state.get("intent", {}),
        plan=Plan.model_validate(turn.workspace.read_json("plan.json")),
        previous=previous,
        recipe=recipe,
        phase=_phase(state),
        stops=[_settled(stop, cost) for stop in stops],
        finished=[result.label for result in results.load_jobs(turn, recipe) if result.done],
        winner=state.get("winner", ""),
        token_method=str(facts.get("token_method", "")),
        spent=usd(str(cost.get("soFar") or 0)),
        held=usd(str(cost.get("reserved") or 0)),
        expires=now() + PLAN_LIFETIME,
        price=WORKFLOWS[recipe.workflow].price,
        values=WORKFLOWS[recipe.workflow].values,
        asked=frozenset(results.asked_models(turn, recipe)),
        pruned=frozenset(result.label for result in results.load_jobs(turn, recipe) if result.pruned),
    )


def _settled(stop: Stop, cost: dict[str, Any]) -> Stop:
    """The stop with what the ledger says now: ending something takes a moment, and that moment costs too."""
    spent = next((item["spent"] for item in cost.get("ended", []) if item["resource"] == stop.resource), stop.spent)
    return stop.model_copy(update={"spent": usd(str(spent))})


def _budget_question(identifier: str, stopped: Stopped, note: str) -> Question:
    values = {"stopped": stopped, "note": note, "offers": list_offers(stopped)}
    text = prompts.render("increase_budget.md.j2", **values)
    return Question(question_id=identifier, kind=QuestionKind.MISSING_INPUT, text=text)


def _settle_budget(turn: Turn, state: State, answer: Answer) -> Command[str]:
    said = answer.changes or (read_text(answer.text) if answer.text.strip() else {})
    changes = {name: value for name, value in said.items() if name in _CHEAPER}
    if not changes and set(re.findall(r"\w+", answer.text.casefold())) & set(_STOP_WORDS):
        return _stop(turn, state)
    return _revise(turn, state, changes)


def _revise(turn: Turn, state: State, changes: dict[str, Any]) -> Command[str]:
    intent = merge(state.get("intent", {}), changes)
    small = all(name in _CHEAPER for name in changes)
    nothing_to_keep = changes.get("skip_sweep") and not _finished(turn)
    if small and not nothing_to_keep:
        if not changes:
            turn.say(prompts.render("increase_unclear.md.j2"), f"increase/{state.get('asked', 0)}")
        return Command(goto="increase_propose", update={"intent": intent})
    turn.say("That changes what was trained so far, so it is a new plan.", f"increase/{state.get('asked', 0)}")
    command = replan(turn, state, intent)
    update = command.update if isinstance(command.update, dict) else {}
    return Command(goto=command.goto, update={**update, **next_generation(state), "increase": {}})


def _finished(turn: Turn) -> list[str]:
    return [result.label for result in results.load_jobs(turn, load_recipe(turn)) if result.done]


def _stop(turn: Turn, state: State) -> Command[str]:
    phases, generation = list(Phase), load_recipe(turn).generation
    for phase in phases[phases.index(_phase(state)) + 1 :]:
        turn.phase(phase, "skipped", generation, reason="you stopped at the approved limit")
    turn.finish("cancelled", "You stopped at the approved limit. What was made so far stays; nothing more is spent.")
    return Command(goto="__end__")


def _phase(state: State) -> Phase:
    return Phase(state.get("increase", {})["phase"])


def _wait(pending: Pending, state: State, more: State) -> Command[str]:
    asked = state.get("asked", 0) + 1
    return Command(goto="increase_gate", update={**more, "pending": pending, "asked": asked})


def _draft_path(identifier: str) -> str:
    return f"state/drafts/{identifier}.json"
