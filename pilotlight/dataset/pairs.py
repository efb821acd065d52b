"""Preference pairs [P33, P34]: one prompt and two answers to it, read from either of the documented formats.

    {"input": {"messages": [...], "tools": [...]}, "preferred_output": [{...}], "non_preferred_output": [{...}]}
    {"chosen": {"messages": [...]}, "rejected": {"messages": [...]}}

An answer is one assistant message: a list with it, or the message itself [CON 26].
"""

import hashlib
import json
from typing import Any, NamedTuple, cast

from pilotlight.dataset.content import kind_of
from pilotlight.errors import InvalidArgument

Message = dict[str, Any]
OUTPUTS = ("preferred_output", "non_preferred_output")
CONVERSATIONS = ("chosen", "rejected")


class Pair(NamedTuple):
    """A row as training and evaluation use it."""

    prompt: list[Message]
    """All messages before the answer."""
    preferred: Message
    other: Message
    tools: Any
    weight: float


def is_pair(row: dict[str, Any]) -> bool:
    """Whether the row means to be a preference pair."""
    return any(field in row for field in (*OUTPUTS, *CONVERSATIONS))


def read_pair(row: dict[str, Any]) -> Pair:
    """The pair of a scanned row. Raises InvalidArgument, without a line number, for what the scan refuses."""
    weight = row.get("weight")
    if any(field in row for field in CONVERSATIONS):
        prompt, preferred, tools = _conversation(row.get("chosen"), "chosen")
        prompt_again, other, tools_again = _conversation(row.get("rejected"), "rejected")
        if (prompt_again, tools_again) != (prompt, tools):
            raise InvalidArgument("Both sides of a pair need the same messages and tools before the answer.")
    else:
        prompt, tools = _messages(row.get("input"), "input")
        preferred, other = (answer_of(row.get(field), field) for field in OUTPUTS)
    return Pair(prompt, preferred, other, tools, 1.0 if weight is None else float(weight))


def answer_of(output: Any, field: str) -> Message:
    """The one assistant message of an output. Raises InvalidArgument naming `field`."""
    message = (
        cast("list[Any]", output)[0] if isinstance(output, list) and len(cast("list[Any]", output)) == 1 else output
    )
    if not isinstance(message, dict) or cast("Message", message).get("role") != "assistant":
        raise InvalidArgument(f"{field} is not one assistant message but {kind_of(message)}.")
    return cast("Message", message)


def prompt_key(row: dict[str, Any]) -> str:
    """SHA-256 of a pair's prompt, tools included: rows with equal keys must stay on one side of a split.

    Raises InvalidArgument as read_pair does.
    """
    pair = read_pair(row)
    messages = [{field: value for field, value in message.items() if field != "weight"} for message in pair.prompt]
    text = json.dumps([messages, pair.tools], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _conversation(side: Any, field: str) -> tuple[list[Message], Message, Any]:
    messages, tools = _messages(side, field)
    return messages[:-1], answer_of(messages[-1:], field), tools


def _messages(side: Any, field: str) -> tuple[list[Message], Any]:
    """(messages, tools or None)."""
    messages = cast("Message", side).get("messages") if isinstance(side, dict) else None
    if not isinstance(messages, list) or not messages:
        raise InvalidArgument(f"{field} is not an object with messages.")
    return cast("list[Message]", messages), cast("Message", side).get("tools") or None
