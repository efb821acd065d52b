"""Plan and cost: propose, wait, act. One approval covers both [A116]; nothing is spent before it [A106]."""

from langgraph.types import Command

from pilotlight.errors import Aborted, FailedPrecondition
from pilotlight.money import show
from pilotlight.plan import Phase, Plan
from pilotlight.question import Decision, Option, Question, QuestionField, QuestionKind
from runner.evaluators.scores import EvaluatorUnfit
from runner.intents import merge, read_text
from runner.nodes import gate
from runner.nodes.begin import clarify_reason
from runner.planning.catalogue import list_bases
from runner.planning.draft import Draft
from runner.planning.grid import check_values
from runner.planning.prepare import chosen_bases
from runner.results import RECIPE
from runner.state import State
from runner.turn import Turn
from runner.workflows import workflow_of

_INSTEAD = "instead"
_REST = (Phase.SWEEP, Phase.TRAIN, Phase.EVALUATE, Phase.DEPLOY)


def propose(turn: Turn, state: State) -> Command[str]:
    """Resolve and price the plan, store it, ask for approval. Without a base model: clarify first."""
    intent, generation = state.get("intent", {}), state.get("generation", 1)
    if own := workflow_of(intent).propose:
        return own(turn, state)
    turn.phase(Phase.PLAN, "started", generation)
    known, unknown = chosen_bases(intent, list_bases(turn.client, turn.context.account))
    if unknown or not known:
        return Command(goto="clarify_propose", update={"clarify": {"reason": "base_model"}})
    if note := check_values(intent):
        return Command(goto="clarify_propose", update={"clarify": {"reason": "values", "note": note}})
    identifier = gate.question_id(state, "plan")
    path = f"state/drafts/{identifier}.json"
    kept = turn.workspace.read_json(path)
    if kept is None:
        try:
            draft = workflow_of(intent).draft(turn, intent, known, generation)
        except FailedPrecondition as error:
            reason = _reason_of(error)
            return Command(goto="clarify_propose", update={"clarify": {"reason": reason, "note": str(error)}})
        kept = draft.as_json()
        turn.workspace.write_json(path, kept)
    draft = Draft.from_json(kept)
    turn.publish_plan(draft.plan)
    digest = draft.plan.digest()
    text = "Do you approve this plan and its cost?"
    kind = QuestionKind.PLAN_APPROVAL
    fields = _offer_fields(draft.plan)
    pending = gate.put(turn, Question(question_id=identifier, kind=kind, text=text, plan_hash=digest, fields=fields))
    return Command(
        goto="plan_gate", update={"pending": pending, "plan_hash": digest, "asked": state.get("asked", 0) + 1}
    )


def _offer_fields(plan: Plan) -> list[QuestionField]:
    """The plan's offers as one choice; what is chosen is said in its own words."""
    options = [
        Option(value=offer.words, label=offer.text, cost=f"{show(offer.expected)} (at most {show(offer.high)})")
        for offer in plan.offers
    ]
    return [QuestionField(name=_INSTEAD, label="Instead", type="choice", options=options)] if options else []


def _reason_of(error: FailedPrecondition) -> str:
    if isinstance(error, EvaluatorUnfit):
        return "evaluator"
    if "budget" in error.message:
        return "budget"
    return "labels" if "label" in error.message else "too_small"


def act(turn: Turn, state: State) -> Command[str]:
    """Approve: on to the sweep. Revise: plan again. Reject: the end, free of charge."""
    question, answer = gate.take(turn, state)
    if question.plan_hash != state.get("plan_hash"):
        raise Aborted("The answered plan is not the current one.")
    generation = state.get("generation", 1)
    if answer.decision is Decision.APPROVE:
        draft = turn.workspace.read_json(f"state/drafts/{question.question_id}.json")
        turn.workspace.write_json(RECIPE, draft["recipe"])
        turn.phase(Phase.PLAN, "completed", generation, summary="approved")
        turn.cost(f"{generation}/plan")
        return Command(goto="sweep", update={"approved": True, "winner": ""})
    if answer.decision is Decision.REJECT:
        return _reject(turn, generation)
    changes = {name: value for name, value in answer.changes.items() if value is not None}
    changes |= read_text(str(answer.values[_INSTEAD])) if answer.values.get(_INSTEAD) else {}
    intent = merge(state.get("intent", {}), changes or read_text(answer.text))
    return replan(turn, state, intent)


def replan(turn: Turn, state: State, intent: dict[str, object]) -> Command[str]:
    """To a new plan of the changed intent; through inspection when the data changed, to clarify when it cannot be."""
    old = state.get("intent", {})
    if reason := clarify_reason(intent):
        return Command(goto="clarify_propose", update={"intent": intent, "clarify": {"reason": reason}})
    if intent == old:
        turn.say(
            "I did not find a change in your reply, so the plan is the same. Approve it, reject it, or say what to "
            "change, for example: use rank 16 only, train for 3 epochs, skip the sweep, budget $1.",
            f"revise/{state.get('asked', 0)}",
        )
    same = all(intent.get(name) == old.get(name) for name in ("train_dataset", "eval_dataset", "workflow"))
    return Command(goto="plan_propose" if same else "inspect", update={"intent": intent})


def _reject(turn: Turn, generation: int) -> Command[str]:
    turn.phase(Phase.PLAN, "completed", generation, summary="rejected")
    for phase in (*_REST, Phase.REPORT):
        turn.phase(phase, "skipped", generation, reason="the plan was rejected")
    turn.finish("cancelled", "You rejected the plan. Nothing was created for it and nothing was spent on it.")
    return Command(goto="__end__")
