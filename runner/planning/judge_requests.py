"""Requests that only generating and judging make. As in runner.planning.requests, plans grant exactly these."""

from typing import Any


def prompt_body(model: str, text: str) -> dict[str, Any]:
    """The tokens of a prompt as the model's own template writes it: nothing is generated."""
    messages = [{"role": "user", "content": text}]
    return {"model": model, "messages": messages, "max_tokens": 0, "temperature": 0, "return_token_ids": True}


def answer_body(model: str, messages: list[dict[str, Any]], tools: list[Any], most: int) -> dict[str, Any]:
    """A greedy answer of at most `most` tokens."""
    body: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": most, "temperature": 0}
    return body | ({"tools": tools} if tools else {})
