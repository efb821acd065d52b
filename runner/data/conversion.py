"""The two documented conversions [A129]; they go into the new datasets only, the source is never touched."""

from typing import Any

from runner.data.rows import messages_of

GROUND_TRUTH = "ground_truth written as the assistant's answer"
TOOL_ROLE = "tool results without a tools list rewritten as user messages"


def convert(row: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The row as it can be trained on, and which conversions that took (none: the same object)."""
    done: list[str] = []
    messages = messages_of(row)
    if not row.get("tools") and any(message.get("role") in ("tool", "function") for message in messages):
        messages, done = [_rewrite(message) for message in messages], [*done, TOOL_ROLE]
    truth = _truth_text(row.get("ground_truth"))
    if messages and messages[-1].get("role") == "user" and truth:
        messages, done = [*messages, {"role": "assistant", "content": truth}], [*done, GROUND_TRUTH]
    return (row | {"messages": messages} if done else row), done


def _truth_text(truth: object) -> str:
    """A ground truth as an answer; the labels of a list [A183] one after the other."""
    if isinstance(truth, list):
        return ", ".join(item for item in truth if isinstance(item, str))
    return str(truth) if isinstance(truth, str | int | float) and str(truth).strip() else ""


def _rewrite(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("role") in ("tool", "function"):
        name = message.get("name")
        label = f"Result of {name}" if isinstance(name, str) and name else "Tool result"
        return {"role": "user", "content": f"{label}: {message.get('content') or ''}"}
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    functions = [call.get("function", {}) for call in calls if isinstance(call, dict)]
    spoken = [f"{item.get('name', '')}({item.get('arguments', '')})" for item in functions if isinstance(item, dict)]
    text = "\n".join([str(message.get("content") or "").strip(), *spoken]).strip()
    return {"role": "assistant", "content": text}
