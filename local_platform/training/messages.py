"""Dataset messages as chat templates expect them [P26, P29, P30]."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pilotlight.errors import InvalidArgument

Message = dict[str, Any]

REASONING = "reasoning_content"


def text_of(content: object) -> str:
    """A message's content as one string: text parts are concatenated, absent content is empty.

    Raises InvalidArgument for parts that are not text: these base models cannot see images.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence):
        raise InvalidArgument(f"Message content must be text or a list of parts, not {type(content).__name__}.")
    return "".join(_text_of_part(part) for part in content)


def _text_of_part(part: object) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    if not isinstance(part, Mapping) or kind != "text" or not isinstance(part.get("text"), str):
        raise InvalidArgument(f"Content parts of type {str(kind)[:40]!r} cannot be trained on here, only text.")
    return str(part["text"])


def to_template(messages: object) -> list[Message]:
    """Messages with plain text content and tool call arguments as objects. Raises InvalidArgument for what is none."""
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise InvalidArgument("Missing required field 'messages'.")
    if not all(isinstance(message, Mapping) and isinstance(message.get("role"), str) for message in messages):
        raise InvalidArgument("Every message must be an object with a role.")
    return [_to_template(message) for message in messages]


def _to_template(message: Mapping[str, Any]) -> Message:
    plain: Message = {key: value for key, value in message.items() if value is not None}
    plain["weight"] = message.get("weight", 1)
    plain["content"] = text_of(message.get("content"))
    if calls := message.get("tool_calls"):
        plain["tool_calls"] = [_with_object_arguments(call) for call in calls]
    return plain


def _with_object_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    """The wire carries arguments as a JSON string; templates expect the object (some accept both)."""
    function = dict(call.get("function") or {})
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            function["arguments"] = json.loads(arguments)
        except json.JSONDecodeError as error:
            raise InvalidArgument(f"The arguments of a tool call are not valid JSON: {error.msg}.") from error
    return {**call, "function": function}


def without_reasoning(messages: Sequence[Message]) -> list[Message]:
    """The same conversation with every reasoning trace removed [P31]."""
    return [{key: value for key, value in message.items() if key != REASONING} for message in messages]
