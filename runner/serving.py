"""Deployments: create, wait, ask. A deployment that sleeps answers 503 at first; asking wakes it [P76]."""

import logging
import time
from typing import Any

from pilotlight.errors import AlreadyExists, FailedPrecondition
from runner.calls import Call
from runner.client import ScalingUp
from runner.jobs import check_same
from runner.turn import Turn

log = logging.getLogger(__name__)

CHAT_PATH = "/inference/v1/chat/completions"
_READY_WITHIN = 900.0
_TRIES, _FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 30, 5.0, 1.5, 60.0
"""The documented client: 30 tries, from 5 s, times 1.5, at most 60 s. A Retry-After of the server wins."""


def create(turn: Turn, call: Call, name: str) -> dict[str, Any]:
    """Create a deployment (once) and wait until it is READY. Raises FailedPrecondition when it fails."""
    try:
        turn.client.send(call, turn.context.session)
    except AlreadyExists:
        check_same(turn.client.get(f"/v1/{name}"), call)
    return wait(turn, name, "READY")


def load_adapter(turn: Turn, call: Call) -> None:
    """Load a LoRA on a multi-LoRA deployment (once) and wait until it is DEPLOYED."""
    try:
        loaded = turn.client.send(call, turn.context.session)
        name = str(loaded["name"])
    except AlreadyExists:
        page = turn.client.get(f"/v1/accounts/{turn.context.account}/deployedModels", pageSize=200)
        wanted = (call.body["model"], call.body["deployment"])
        found = [m for m in page.get("deployedModels", []) if (m.get("model"), m.get("deployment")) == wanted]
        if not found:
            raise
        name = str(found[0]["name"])
    wait(turn, name, "DEPLOYED")


def wait(turn: Turn, name: str, wanted: str) -> dict[str, Any]:
    """Look until the resource is in the wanted state."""
    deadline = time.monotonic() + _READY_WITHIN
    while True:
        found = turn.client.get(f"/v1/{name}")
        state = found.get("state")
        if state == wanted:
            return found
        if state in ("FAILED", "DELETED", "DELETING") or time.monotonic() > deadline:
            status: dict[str, Any] = found.get("status") or {}
            raise FailedPrecondition(f"{name} is {state}, not {wanted}. {status.get('message', '')}".strip())
        time.sleep(turn.poll_seconds)


def ask(turn: Turn, body: dict[str, Any]) -> str:
    """One chat request; the text of the answer. Waits while the deployment wakes up."""
    return text_of(post(turn, CHAT_PATH, body))


def post(turn: Turn, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """One inference request; the reply. Waits while the deployment wakes up."""
    pause = _FIRST_PAUSE
    for attempt in range(_TRIES):
        try:
            return turn.client.post(path, body)
        except ScalingUp as error:
            seconds = error.retry_after if error.retry_after is not None else pause
            log.info("%s is waking up (try %d), next try in %.1f s", body["model"], attempt + 1, seconds)
            time.sleep(min(seconds, _LONGEST_PAUSE))
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)
    raise FailedPrecondition(f"{body['model']} did not wake up after {_TRIES} tries.")


def text_of(reply: dict[str, Any]) -> str:
    """The text of a chat completion."""
    message: dict[str, Any] = reply["choices"][0].get("message") or {}
    return str(message.get("content") or "")
