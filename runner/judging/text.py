"""Prompts as judges read them."""

from collections.abc import Sequence
from typing import Any

from runner.data.rows import text_of


def transcript(messages: Sequence[dict[str, Any]]) -> str:
    """A conversation as text, one paragraph per message."""
    return "\n\n".join(f"{str(message.get('role')).capitalize()}: {text_of(message)}" for message in messages)


def last_words(messages: Sequence[dict[str, Any]]) -> str:
    """The text of the last user message; of the last message where there is none."""
    asked = [message for message in messages if message.get("role") == "user"] or list(messages)
    return text_of(asked[-1]) if asked else ""
