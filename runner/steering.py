"""Instructions that come while a session has a place already: they steer it, are answered, or change nothing."""

from runner import catalogue_answers
from runner.intents import changes_of, read_text
from runner.state import State
from runner.turn import Turn

_ASIDE = "state/aside.json"


def unread(turn: Turn, state: State) -> list[str]:
    """What the user said and no node has taken up yet."""
    return turn.context.said()[max(state.get("seen", 0), turn.workspace.read_json(_ASIDE, 0)) :]


def steers(turn: Turn, state: State) -> bool:
    """Whether something unread asks for other work, so that the session must be planned anew.

    A question is answered at once, and words like "try again" change nothing: both are set aside.
    """
    fresh = unread(turn, state)
    if not fresh:
        return False
    if any(changes_of(state.get("intent", {}), read_text(text)) for text in fresh):
        return True
    for number, text in enumerate(fresh):
        said = read_text(text)
        if said.get("workflow") == "question":
            turn.say(_answer(turn, state, str(said.get("question", text))), f"aside/{number}")
    turn.workspace.write_json(_ASIDE, len(turn.context.said()))
    return False


def _answer(turn: Turn, state: State, question: str) -> str:
    return catalogue_answers.answer(turn, question, state.get("intent", {}))
