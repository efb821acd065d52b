"""The planner's own model, asked through the gateway: a text for a text, without tools."""

from typing import Any, NamedTuple

from runner.turn import Turn

_PATH = "/planner/v1/messages"


class Said(NamedTuple):
    """What the model answered; `whole` is False where its answer was cut at the limit of tokens."""

    text: str
    whole: bool


def ask_model(turn: Turn, system: str, messages: list[dict[str, str]], max_tokens: int) -> Said:
    """One call of the first model of the settings. Raises the PilotlightError of a refusal (no allowance, no grant)."""
    body: dict[str, Any] = {
        "model": turn.context.planner_models[0],
        "max_tokens": max_tokens,
        "system": system,
        "messages": messages,
    }
    reply = turn.client.post(_PATH, body)
    text = "".join(str(block.get("text", "")) for block in reply.get("content", []) if block.get("type") == "text")
    return Said(text, reply.get("stop_reason") != "max_tokens")
