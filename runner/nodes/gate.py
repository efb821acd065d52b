"""What all gates share. A gate node holds one interrupt() and nothing else; answers live in the inbox [DESIGN 4]."""

import hashlib

from langgraph.types import interrupt

from pilotlight.errors import Aborted
from pilotlight.plan import canonical_json
from pilotlight.question import Answer, Question
from runner.state import Pending, State
from runner.turn import Turn


def put(turn: Turn, question: Question) -> Pending:
    """Ask, and describe what the gate waits for. Run again after a crash, it asks the very same question."""
    kept = turn.workspace.read_json(_path(question.question_id))
    if kept is None:
        turn.workspace.write_json(_path(question.question_id), question.model_dump(mode="json", by_alias=True))
    else:
        question = Question.model_validate(kept)
    turn.ask(question)
    text = canonical_json(question.model_dump(mode="json", by_alias=True))
    digest = question.plan_hash or hashlib.sha256(text.encode()).hexdigest()
    return Pending(question_id=question.question_id, digest=digest)


def ask_again(turn: Turn, pending: Pending) -> None:
    """Repeat the open question, for a turn that starts without an answer."""
    turn.ask(Question.model_validate(turn.workspace.read_json(_path(pending["question_id"]))))


def hold(state: State) -> State:
    """The whole of a gate node: stop until resumed for this very question."""
    pending = _pending(state)
    answered = interrupt(dict(pending))
    if answered != dict(pending):
        raise Aborted(f"Resumed for {answered!r}, but waiting for {pending!r}.")
    return {}


def take(turn: Turn, state: State) -> tuple[Question, Answer]:
    """The question and its answer from the inbox. Raises Aborted when the answer refers to another plan."""
    pending = _pending(state)
    answer = turn.answer(pending["question_id"])
    question = Question.model_validate(turn.workspace.read_json(_path(pending["question_id"])))
    if answer is None:
        raise Aborted(f"There is no answer to {pending['question_id']} in the inbox.")
    if question.plan_hash and (answer.plan_hash or question.plan_hash) != pending["digest"]:
        raise Aborted("The answer refers to a plan that is no longer the current one.")
    return question, answer


def question_id(state: State, kind: str) -> str:
    """The ID of the next question: counted, so that it is the same when the node runs again."""
    return f"q{state.get('asked', 0) + 1}-{kind}"


def _pending(state: State) -> Pending:
    pending = state.get("pending")
    if pending is None:
        raise Aborted("The gate was reached without a question.")
    return pending


def _path(identifier: str) -> str:
    return f"state/questions/{identifier}.json"
