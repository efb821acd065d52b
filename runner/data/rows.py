"""Rows of a chat dataset: the text of their messages, the answer to learn, and keys that tell duplicates."""

import hashlib
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from pilotlight.dataset import is_pair, read_pair
from pilotlight.plan import canonical_json

_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")
_SKETCH_WORDS, _BANDS = 12, 8
_RANDOM = np.random.default_rng(42)
_MULTIPLIERS = _RANDOM.integers(1, 2**63, 4 * _BANDS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_ADDENDS = _RANDOM.integers(0, 2**63, 4 * _BANDS, dtype=np.uint64)


class Line(NamedTuple):
    """One line of a file: its number from 1, its bytes, and the object it holds, or None where it holds none."""

    number: int
    raw: bytes
    value: dict[str, Any] | None


def read_lines(path: Path) -> Iterator[Line]:
    """All lines that are not blank, one at a time."""
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            text = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            if text.strip():
                yield Line(number, text, _parse(text))


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def chat_of(row: dict[str, Any]) -> dict[str, Any]:
    """A preference pair as the conversation that ends with its preferred answer; any other row as it is."""
    if not is_pair(row):
        return row
    pair = read_pair(row)
    return {"messages": [*pair.prompt, pair.preferred], **({"tools": pair.tools} if pair.tools else {})}


def messages_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages that are objects; anything else is left to the format check."""
    messages = row.get("messages")
    return [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []


def text_of(message: dict[str, Any]) -> str:
    """The text of a message: its string, or its text parts joined; tool calls as canonical JSON."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    text = content if isinstance(content, str) else ""
    calls = message.get("tool_calls")
    return text + (canonical_json(calls) if calls else "")


def answer_of(row: dict[str, Any]) -> str | None:
    """The text of the last assistant message if it is the last message, else None."""
    messages = messages_of(row)
    return text_of(messages[-1]) if messages and messages[-1].get("role") == "assistant" else None


def prompt_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages before the last assistant message: what a model is asked in evaluation."""
    messages = messages_of(row)
    return messages[:-1] if messages and messages[-1].get("role") == "assistant" else messages


class Keys(NamedTuple):
    """64-bit keys. Rows with equal `exact` say the same; with equal `group` the same but for case and punctuation."""

    exact: int
    group: int
    prompt: int
    alike: tuple[int, ...]
    """Rows that share one of these are near duplicates: equal but for numbers, or (longer ones) for a few words."""


def keys_of(row: dict[str, Any], sketch: bool = True) -> Keys:
    """The keys of a row. System messages count for `exact` only: a shared one must not make rows alike.

    Without `sketch`, longer rows that differ in a few words are not told; it takes most of the time and memory.
    """
    messages = messages_of(row)
    spoken = [message for message in messages if message.get("role") != "system"]
    asked = [message for message in prompt_of(row) if message.get("role") != "system"]
    words = _words(" ".join(text_of(message) for message in spoken))
    return Keys(
        _hash(canonical_json([messages, row.get("tools")])),
        _hash(" ".join(words)),
        _hash(" ".join(text_of(message) for message in asked)),
        (_hash(_DIGITS.sub("0", " ".join(words))), *(_sketch(words[:96]) if sketch else ())),
    )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _sketch(words: list[str]) -> tuple[int, ...]:
    """MinHash over runs of three words, 8 bands of 4: two texts that share 85 % of their runs share a band almost
    surely, two that share 30 % hardly ever. Nothing for texts too short to compare that way."""
    if len(words) < _SKETCH_WORDS:
        return ()
    shingles = [zlib.crc32(" ".join(words[at : at + 3]).encode()) for at in range(len(words) - 2)]
    mixed = np.array(shingles, dtype=np.uint64)[:, None] * _MULTIPLIERS + _ADDENDS
    smallest = (mixed >> np.uint64(24)).min(axis=0).reshape(_BANDS, -1)
    return tuple(_hash(f"{band}:{smallest[band].tobytes().hex()}") for band in range(_BANDS))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
