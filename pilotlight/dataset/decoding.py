"""One line to one JSON value. orjson decides; where it refuses, or may have hidden a duplicate key, the standard
library explains.
"""

import json
import re
from typing import Any, NamedTuple, cast

import orjson

from pilotlight.dataset.content import quote


class Refusal(NamedTuple):
    """Why a line is not a row."""

    code: str
    detail: str


_QUOTE_OR_ESCAPE = re.compile(rb'\\.|"')
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(line: bytes) -> Any | Refusal:
    """The JSON value of a line, or why there is none. Duplicate keys are not looked for here."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _explain(line, error)


def find_duplicate(line: bytes, strings: int) -> Refusal | None:
    """A key that an object of `line` has twice, given how many strings survived decoding (see count_strings).

    Every string written takes two quotes, so a key that was dropped shows as quotes too many: no second parse is
    needed to know, only to name it.
    """
    return None if count_quotes(line) == 2 * strings else _search_duplicate(line)


def count_quotes(line: bytes) -> int:
    """Quotes that open or close a string in a line of valid JSON."""
    quotes = line.count(b'"')
    if b"\\" not in line:
        return quotes
    # After an escaped backslash a quote may close the string: then the escapes must be read one by one.
    if b'\\\\"' in line:
        return sum(token == b'"' for token in _QUOTE_OR_ESCAPE.findall(line))
    return quotes - line.count(b'\\"')


def count_strings(value: Any) -> int:
    """Strings in a JSON value, keys included, without recursion."""
    total, pending = 0, [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            total += 1
        elif isinstance(item, dict):
            total += len(cast("dict[str, Any]", item))
            pending.extend(cast("dict[str, Any]", item).values())
        elif isinstance(item, list):
            pending.extend(cast("list[Any]", item))
    return total


def _search_duplicate(line: bytes) -> Refusal | None:
    found: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _value in pairs:
            if name in seen:
                found.append(name)
            seen.add(name)

    # Numbers are irrelevant here, and int() refuses very long ones.
    try:
        json.loads(line, object_pairs_hook=collect, parse_int=str, parse_float=str)
    except RecursionError:
        return Refusal("too_deep", "nested about a thousand levels deep")
    return Refusal("duplicate_key", quote(found[0])) if found else None


def _explain(line: bytes, refused: orjson.JSONDecodeError) -> Refusal:
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        return Refusal("not_utf8", f"byte 0x{line[error.start]:02x} at column {error.start + 1}")
    if "\x00" in text:
        return Refusal("nul_byte", f"at column {text.index(chr(0)) + 1}")
    constants: list[str] = []
    try:
        value = json.loads(text, parse_constant=constants.append, parse_int=str)
        written = json.dumps(value, ensure_ascii=False)
    except json.JSONDecodeError as error:
        return _explain_syntax(text, error)
    except RecursionError:
        return Refusal("too_deep", refused.msg)
    if constants:
        return Refusal("non_finite_number", f"{constants[0]} is not a JSON number")
    if _SURROGATE.search(written):
        return Refusal("lone_surrogate", refused.msg)
    if "depth" in refused.msg:
        return Refusal("too_deep", refused.msg)
    if "number" in refused.msg:
        return Refusal("number_too_large", refused.msg)
    return Refusal("invalid_json", refused.msg)


def _explain_syntax(text: str, error: json.JSONDecodeError) -> Refusal:
    where = f"{error.msg} at column {error.colno}"
    if error.msg.startswith("Invalid control character"):
        return Refusal("control_character", where)
    if error.msg == "Extra data":
        more = text[error.pos :].lstrip()[:1] in ("{", "[")
        return Refusal("several_objects" if more else "invalid_json", f"more data at column {error.colno}")
    if text[error.pos : error.pos + 1] == "'":
        return Refusal("single_quotes", f"single quote at column {error.colno}")
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return Refusal("truncated", where)
    return Refusal("invalid_json", where)
