"""Turns in the wire format of the Messages API: whole, and as the events of a stream."""

import json
from collections.abc import Iterator
from typing import Any

from pilotlight.scripted_model.script import TextPart, ToolPart, Turn

Json = dict[str, Any]
_PIECE = 12
"""Characters of one delta."""
_CHARACTERS_PER_TOKEN = 4


def whole(turn: Turn, body: Json, number: int) -> Json:
    """The message of a request without `stream`. Its words end at `max_tokens`, as a model's would."""
    blocks, cut = _blocks(turn, body["max_tokens"], number)
    output = turn.output_tokens if turn.output_tokens is not None else max(1, sum(map(_tokens_of, blocks)))
    return {
        "id": f"msg_scripted_{number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": "max_tokens" if cut else "tool_use" if _calls_tool(turn) else "end_turn",
        "stop_sequence": None,
        "usage": _usage(turn, body) | {"output_tokens": output},
    }


def events(turn: Turn, body: Json, number: int) -> Iterator[bytes]:
    """The events of the same message as a stream."""
    message = whole(turn, body, number)
    usage = message["usage"]
    start = message | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
    yield _event("message_start", message=start)
    yield _event("ping")
    for index, block in enumerate(message["content"]):
        yield from _block_events(index, block)
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage={"output_tokens": usage["output_tokens"]})
    yield _event("message_stop")


def error(kind: str, message: str) -> Json:
    """The body of an error."""
    return {"type": "error", "error": {"type": kind, "message": message}}


def _block_events(index: int, block: Json) -> Iterator[bytes]:
    tool = block["type"] == "tool_use"
    empty = block | ({"input": {}} if tool else {"text": ""})
    content = json.dumps(block["input"]) if tool else block["text"]
    kind, field = ("input_json_delta", "partial_json") if tool else ("text_delta", "text")
    yield _event("content_block_start", index=index, content_block=empty)
    for start in range(0, len(content), _PIECE):
        piece = content[start : start + _PIECE]
        yield _event("content_block_delta", index=index, delta={"type": kind, field: piece})
    yield _event("content_block_stop", index=index)


def _blocks(turn: Turn, most: int, number: int) -> tuple[list[Json], bool]:
    blocks: list[Json] = []
    left = most * _CHARACTERS_PER_TOKEN
    for index, part in enumerate(turn.parts):
        if isinstance(part, TextPart):
            blocks.append({"type": "text", "text": part.text[:left]})
            if len(part.text) > left:
                return blocks, True
            left -= len(part.text)
        else:
            name = f"toolu_scripted_{number}_{index}"
            blocks.append({"type": "tool_use", "id": name, "name": part.name, "input": part.input})
    return blocks, False


def _calls_tool(turn: Turn) -> bool:
    return any(isinstance(part, ToolPart) for part in turn.parts)


def _usage(turn: Turn, body: Json) -> Json:
    said = json.dumps([body.get("system"), body["messages"], body.get("tools")])
    counted = -(-len(said) // _CHARACTERS_PER_TOKEN)
    return {
        "input_tokens": turn.input_tokens if turn.input_tokens is not None else counted,
        "cache_creation_input_tokens": turn.cache_creation_input_tokens,
        "cache_read_input_tokens": turn.cache_read_input_tokens,
    }


def _tokens_of(block: Json) -> int:
    return -(-len(block.get("text") or json.dumps(block.get("input"))) // _CHARACTERS_PER_TOKEN)


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
