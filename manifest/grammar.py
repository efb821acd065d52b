"""The strict grammar of paths, headers, queries and JSON bodies. What it does not describe is refused, not repaired.

Everything is read from the raw bytes: servers decode `%2F` and `%3A` before a framework sees the path, and two readers
that decode differently are how a request means one thing to the checker and another to the server.
"""

import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from manifest.facts import Refusal
from manifest.registry import Fields, Route, routes

_PATH = re.compile(rb"(?:/[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_-]))*)+(?::[A-Za-z]{1,40})?\Z")
_QUERY = re.compile(rb"[A-Za-z0-9._~!$'()*+,:@/?&=%\"\[\]<>-]*\Z")
_PERCENT = re.compile(rb"%(?:[0-9A-Fa-f]{2})?")
_SNAKE = re.compile(r"_([a-z0-9])")
MAX_PATH, MAX_SEGMENT, MAX_QUERY, MAX_DEPTH = 1024, 63, 8192, 32

OVERRIDES = frozenset(
    b"x-http-method x-http-method-override x-method-override x-original-url x-original-uri x-rewrite-url"
    b" x-forwarded-prefix x-forwarded-path x-forwarded-uri x-fireworks-account-id x-account x-account-id x-role x-user"
    b" x-user-id x-goog-user-project x-goog-api-client-override upgrade http2-settings trailer te"
    b" proxy-authorization content-encoding".split()
)
_OVERRIDE_PREFIXES = (b"grpc-", b"x-fireworks-account", b"x-envoy-", b"x-original-")
_ONCE = frozenset(b"host content-length content-type authorization transfer-encoding idempotency-key".split())
_JSON_TYPE = re.compile(rb'application/json(?:\s*;\s*charset="?utf-8"?)?\s*\Z', re.IGNORECASE)
_MULTIPART_TYPE = re.compile(
    rb'multipart/form-data\s*;\s*boundary=(?:"[^"\r\n]{1,70}"|[!-~]{1,70})\s*\Z', re.IGNORECASE
)


def parse_path(verb: str, raw: bytes) -> tuple[Route, str, dict[str, str]]:
    """The route, the path as text and its variables. Raises Refusal `path` or `unknown-method`."""
    if len(raw) > MAX_PATH or not _PATH.match(raw):
        raise Refusal("path", "The path is not in the grammar: segments of letters, digits, '-', '_' and '.'.")
    path = raw.decode("ascii")
    segments = path.split("/")
    if segments[1:3] != ["v1", "accounts"]:
        shape, values = path, []
    else:
        last, colon, custom = segments[-1].partition(":")
        segments[-1] = last
        values = segments[3::2]
        segments[3::2] = ["{}"] * len(values)
        shape = "/".join(segments) + colon + custom
    route = routes().get((verb, shape))
    if route is None:
        raise Refusal("unknown-method", f"{verb} {path[:200]} is not a method of the registry.")
    if any(len(value) > MAX_SEGMENT for value in values):
        raise Refusal("path", f"An ID in the path is longer than {MAX_SEGMENT} characters.")
    return route, path, dict(zip(route.params, values, strict=True))


def check_headers(headers: Sequence[tuple[bytes, bytes]], route: Route) -> None:
    """Refuse headers that would change the meaning of the request on another reader. Raises Refusal `header`."""
    seen: dict[bytes, bytes] = {}
    for raw_name, value in headers:
        name, refused = _classify(raw_name)
        if refused:
            raise Refusal("header", f"The header {name.decode('latin-1')[:60]} is not accepted.")
        if name in seen and name in _ONCE:
            raise Refusal("header", f"The header {name.decode('latin-1')} is given twice.")
        seen[name] = value
    if b"content-length" in seen and b"transfer-encoding" in seen:
        raise Refusal("header", "Content-Length and Transfer-Encoding exclude each other.")
    _check_body_headers(seen, route)


@lru_cache(512)
def _classify(raw_name: bytes) -> tuple[bytes, bool]:
    """The header's name with the spellings that servers take for the same folded, and whether it is refused."""
    name = raw_name.lower().replace(b"_", b"-")
    return name, name in OVERRIDES or name.startswith(_OVERRIDE_PREFIXES)


def _check_body_headers(seen: dict[bytes, bytes], route: Route) -> None:
    has_body = b"transfer-encoding" in seen or seen.get(b"content-length", b"0") != b"0"
    kind = seen.get(b"content-type", b"")
    if route.body == "none" and has_body:
        raise Refusal("header", f"{route.method} takes no body.", "INVALID_ARGUMENT")
    if route.body == "multipart" and not _MULTIPART_TYPE.match(kind):
        raise Refusal("header", f"{route.method} takes multipart/form-data.", "INVALID_ARGUMENT")
    if route.body in ("json", "empty") and has_body and not _JSON_TYPE.match(kind):
        raise Refusal("header", f"{route.method} takes application/json in UTF-8.", "INVALID_ARGUMENT")


def parse_query(raw: bytes, route: Route) -> list[tuple[str, str]]:
    """Decoded pairs in order, names in the registry's spelling. Raises Refusal `query`."""
    if not raw:
        return []
    if len(raw) > MAX_QUERY or not _QUERY.match(raw):
        raise Refusal("query", "The query string is not in the grammar.", "INVALID_ARGUMENT")
    pairs: list[tuple[str, str]] = []
    for part in raw.split(b"&"):
        name, separator, value = part.partition(b"=")
        key = _canonical(_decode(name), route.query)
        if not separator or key is None:
            raise Refusal("query", f"{route.method} has no query parameter {_show(name)}.", "INVALID_ARGUMENT")
        if not route.query[key].repeated and any(key == other for other, _ in pairs):
            raise Refusal("query", f"The query parameter {key} is given twice.", "INVALID_ARGUMENT")
        pairs.append((key, _decode(value)))
    return pairs


def parse_json(raw: bytes) -> Any:
    """JSON without duplicate keys, NaN, infinities, lone surrogates or a BOM, 32 deep. Raises Refusal `body`."""
    try:
        value = _STRICT.decode(raw.decode("utf-8"))
        # Too few brackets to be too deep and no escaped surrogate in it: nothing for a walk to find.
        if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH or b"\\u" in raw:
            _check_tree(value, 0)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Refusal("body", f"The body is not strict JSON: {str(error)[:160]}", "INVALID_ARGUMENT") from error
    return value


def camel(name: str) -> str:
    """`base_model` -> `baseModel`; the platform takes both spellings of its fields."""
    return _SNAKE.sub(lambda match: match[1].upper(), name)


def _canonical(name: str, known: Fields) -> str | None:
    if name in known:
        return name
    other = camel(name)
    return other if other in known else None


def _decode(raw: bytes) -> str:
    if b"%" not in raw and b"+" not in raw:
        return raw.decode("ascii")
    if any(len(match) != 3 for match in _PERCENT.findall(raw)):
        raise Refusal("query", "The query string has a broken percent escape.", "INVALID_ARGUMENT")
    data = _PERCENT.sub(lambda match: bytes((int(match[0][1:], 16),)), raw.replace(b"+", b" "))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal("query", "The query string is not UTF-8.", "INVALID_ARGUMENT") from error
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise Refusal("query", "The query string has control characters.", "INVALID_ARGUMENT")
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _bounded(text: str) -> int:
    value = int(text) if len(text) <= 20 else 1 << 64
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"{text[:20]} is no 64-bit integer")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _check_tree(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, inner in value.items():
            key.encode("utf-8")
            _check_tree(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_tree(inner, depth + 1)


def _show(raw: bytes) -> str:
    return repr(raw[:60].decode("latin-1"))


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite, parse_int=_bounded)
