"""The promotion gate: show the scoreboard and have the winner confirmed before more is spent [A138]."""

from langgraph.types import Command

import prompts
from pilotlight.plan import Phase
from pilotlight.question import Answer, Decision, Option, Question, QuestionField, QuestionKind
from runner import results
from runner.intents import merge, read_text
from runner.jobs import JobResult
from runner.nodes import gate
from runner.nodes.approval import replan
from runner.nodes.begin import next_generation
from runner.planning.recipe import Recipe
from runner.results import load_recipe
from runner.scoring.winner import Verdict
from runner.state import State
from runner.turn import Turn
from runner.workflows import WORKFLOWS


def propose(turn: Turn, state: State) -> Command[str]:
    """Ask whether the proposed winner goes on."""
    recipe = load_recipe(turn)
    ended = [result for result in results.load_jobs(turn, recipe) if result.label != "final"]
    verdict = Verdict(**results.load(turn, recipe, "sweep"))
    winner = state.get("winner") or verdict.winner
    text = prompts.render(
        "promotion.md.j2",
        scoreboard=WORKFLOWS[recipe.workflow].scoreboard(turn, recipe),
        recipe=recipe,
        winner=winner,
        verdict=verdict,
        plan=turn.workspace.read_json("plan.json"),
    )
    question = Question(
        question_id=gate.question_id(state, "promotion"),
        kind=QuestionKind.PROMOTION,
        text=text,
        fields=[_field(recipe, ended, winner)],
        plan_hash=state.get("plan_hash"),
    )
    pending = gate.put(turn, question)
    return Command(goto="promotion_gate", update={"pending": pending, "asked": state.get("asked", 0) + 1})


def _field(recipe: Recipe, ended: list[JobResult], winner: str) -> QuestionField:
    options = [
        Option(
            value=result.label,
            label=f"{result.label}: {recipe.candidate(result.label).settings()}",
            recommended=result.label == winner,
        )
        for result in ended
        if result.done
    ]
    return QuestionField(name="candidate", label="Winner", type="choice", options=options, default=winner)


def act(turn: Turn, state: State) -> Command[str]:
    """Approve: on with the winner. Another candidate named: ask for that one. Changes: a new plan. Reject: stop."""
    question, answer = gate.take(turn, state)
    named = named_in(question, answer)
    if answer.decision is Decision.APPROVE:
        return Command(goto="train", update={"winner": named or state.get("winner", "")})
    if answer.decision is Decision.REJECT:
        return _stop(turn, load_recipe(turn).generation)
    if named:
        return Command(goto="promotion_propose", update={"winner": named})
    changes = {name: value for name, value in answer.changes.items() if value is not None and name != "candidate"}
    intent = merge(state.get("intent", {}), changes or read_text(answer.text))
    if intent == state.get("intent", {}):
        turn.say("Reply with the candidate to go on with, or say what to change.", f"promotion/{state.get('asked', 0)}")
        return Command(goto="promotion_propose")
    command = replan(turn, state, intent)
    update = command.update if isinstance(command.update, dict) else {}
    return Command(goto=command.goto, update={**update, **next_generation(state)})


def named_in(question: Question, answer: Answer) -> str:
    """The candidate that the answer names, if it is one that the question offers; else empty."""
    value = str(answer.values.get("candidate") or answer.changes.get("candidate") or "")
    options = {option.value for field in question.fields for option in field.options}
    return value if value in options else ""


def _stop(turn: Turn, generation: int) -> Command[str]:
    for phase in (Phase.TRAIN, Phase.EVALUATE, Phase.DEPLOY, Phase.REPORT):
        turn.phase(phase, "skipped", generation, reason="you stopped after the sweep")
    turn.finish("cancelled", "You stopped after the sweep. The candidates stay in your account; nothing is deployed.")
    return Command(goto="__end__")
