"""The comparison gate: show tuned against base models, and have the deployment confirmed or declined [A177].

It stands between evaluation and deployment, in workflows that have a comparison. What deploys needs its approval.
"""

from langgraph.types import Command

from pilotlight.errors import Internal
from pilotlight.plan import Phase
from pilotlight.question import Answer, Decision, Question, QuestionField, QuestionKind
from runner.comparison import decline
from runner.intents import merge, read_text
from runner.nodes import gate
from runner.nodes.approval import replan
from runner.nodes.begin import next_generation
from runner.nodes.promotion import named_in
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn
from runner.workflows import WORKFLOWS


def propose(turn: Turn, state: State) -> Command[str]:
    """Ask whether the winner is to be deployed."""
    recipe, winner = load_recipe(turn), state.get("winner", "")
    compare = WORKFLOWS[recipe.workflow].compare
    if compare is None:
        raise Internal("A workflow without a comparison came to its gate.")
    shown = compare(turn, recipe, winner)
    question = Question(
        question_id=gate.question_id(state, "comparison"),
        kind=QuestionKind.COMPARISON,
        text=shown.text,
        fields=[QuestionField(name="candidate", label="Deploy", type="choice", options=shown.options, default=winner)],
        plan_hash=state.get("plan_hash"),
    )
    pending = gate.put(turn, question)
    return Command(goto="comparison_gate", update={"pending": pending, "asked": state.get("asked", 0) + 1})


def act(turn: Turn, state: State) -> Command[str]:
    """Approve: deploy. Finish without: the report. Another candidate: compare that one. Changes: a new plan."""
    question, answer = gate.take(turn, state)
    recipe, named = load_recipe(turn), named_in(question, answer)
    if answer.decision is Decision.APPROVE:
        return Command(goto="deploy", update={"winner": named or state.get("winner", "")})
    if answer.decision is Decision.REJECT:
        return _stop(turn, recipe.generation)
    if answer.changes.get("deploy") is False:
        decline(turn, recipe)
        return Command(goto="deploy")
    if named:
        return Command(goto="comparison_propose", update={"winner": named})
    return _revise(turn, state, answer)


def _revise(turn: Turn, state: State, answer: Answer) -> Command[str]:
    changes = {name: value for name, value in answer.changes.items() if value is not None and name != "candidate"}
    intent = merge(state.get("intent", {}), changes or read_text(answer.text))
    if intent == state.get("intent", {}):
        turn.say(
            "Reply `Deploy it.`, name another candidate, or `Finish without deploying.`",
            f"comparison/{state.get('asked', 0)}",
        )
        return Command(goto="comparison_propose")
    command = replan(turn, state, intent)
    update = command.update if isinstance(command.update, dict) else {}
    return Command(goto=command.goto, update={**update, **next_generation(state)})


def _stop(turn: Turn, generation: int) -> Command[str]:
    for phase in (Phase.DEPLOY, Phase.REPORT):
        turn.phase(phase, "skipped", generation, reason="you stopped at the comparison")
    turn.finish("cancelled", "You stopped at the comparison. The models stay in your account; nothing is deployed.")
    return Command(goto="__end__")
