"""Approved limits as the runner meets them: a call that the gateway refused, or a thing that it ended."""

import time
from decimal import Decimal
from typing import Any, Literal

from langgraph.types import Command

from pilotlight.errors import FailedPrecondition, NotFound, PermissionDenied, PilotlightError, ResourceExhausted
from pilotlight.plan import Phase, Stop
from runner.context import Inbound
from runner.state import State
from runner.turn import Turn

_RULES: dict[str, Literal["calls", "expired", "session"]] = {
    "spend.exhausted": "calls",
    "spend.expired": "expired",
    "spend.limit": "session",
}
"""Rules of the gateway that more approval can answer; any other refusal is an error."""
_SETTLED_WITHIN = 30.0


class Ended(Inbound):
    """What the gateway ended at its limit, as the Turn API tells it with the session's cost."""

    resource: str
    limit: Literal["cost", "time"]
    reason: str
    approved: Decimal
    spent: Decimal
    settled: bool


def find_ended(turn: Turn, resource: str) -> Ended | None:
    """Whether the gateway ended `resource` at its approved limit."""
    return next((ended for ended in _list_ended(turn) if ended.resource == resource), None)


def refusal_of(error: PilotlightError) -> Literal["calls", "expired", "session"] | None:
    """Which approved limit a refused call met; None when it was refused for another reason."""
    return _RULES.get(error.reason)


def wait_settled(turn: Turn, resources: set[str]) -> None:
    """Wait a while until the cost of what was ended is final: the preview shows it."""
    deadline = time.monotonic() + _SETTLED_WITHIN
    while time.monotonic() < deadline:
        if all(ended.settled for ended in _list_ended(turn) if ended.resource in resources):
            return
        time.sleep(turn.poll_seconds)


def ask_for_more(phase: Phase, stops: list[Stop]) -> Command[str]:
    """To the question for more; the phase goes on when it is approved."""
    found: dict[str, Any] = {"phase": phase.value, "stops": [stop.model_dump(mode="json") for stop in stops]}
    return Command(goto="increase_propose", update={"increase": found})


def stop_phase(
    turn: Turn, phase: Phase, part: Literal["evaluation", "deployment"], resource: str, error: PilotlightError
) -> Command[str]:
    """What follows an error of a phase that uses one deployment: ask for more, or trouble. Raises any other error."""
    if limit := refusal_of(error):
        return ask_for_more(phase, [Stop(part=part, limit=limit)])
    if ended := find_ended(turn, resource):
        stop = Stop(part=part, resource=resource, limit=ended.limit, approved=ended.approved, spent=ended.spent)
        return ask_for_more(phase, [stop])
    if isinstance(error, FailedPrecondition | NotFound):
        return to_trouble(phase, str(error), [Stop(part=part, resource=resource, limit="failed")])
    raise error


def to_trouble(phase: Phase, message: str, stops: list[Stop]) -> Command[str]:
    """To the question what to do about a failure; `stops` are what failed, to be done again if the user wants."""
    failed = [stop.model_dump(mode="json") for stop in stops]
    return Command(
        goto="trouble_propose", update={"trouble": {"phase": phase.value, "message": message, "stops": failed}}
    )


def retry_of(state: State) -> Command[str] | None:
    """To the preview of what is left: what is finished is kept, what failed is done again. None if nothing is kept."""
    trouble = state.get("trouble", {})
    if not (trouble.get("stops") and state.get("approved")):
        return None
    found = {"phase": trouble["phase"], "stops": trouble["stops"]}
    return Command(goto="increase_propose", update={"increase": found, "trouble": {}})


def as_update(command: Command[str]) -> dict[str, Any]:
    """What a command of ours changes of the state."""
    return command.update if isinstance(command.update, dict) else {}


STOPPING = (FailedPrecondition, NotFound, PermissionDenied, ResourceExhausted)
"""Errors that stop_phase() can make something of."""


def _list_ended(turn: Turn) -> list[Ended]:
    return [Ended.model_validate(item) for item in turn.client.get("/turn/v1/cost").get("ended", [])]
