"""Every route of the REST API, compiled from `registry.yaml`: (verb, path shape) -> method."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import TypeAdapter

from manifest.types import Action, RouteEntry

BodyKind = Literal["none", "empty", "multipart", "json"]


class Field(NamedTuple):
    """One query or body field. `type` as in the comments of `registry.yaml`; `collection` for name types."""

    type: str
    collection: str = ""
    repeated: bool = False
    fields: "MappingProxyType[str, Field] | None" = None


Fields = MappingProxyType[str, Field]


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `path` is a template such as `/v1/accounts/{account}/datasets/{dataset}:upload`."""

    method: str
    verb: str
    path: str
    params: tuple[str, ...]
    surface: str
    action: Action
    public: bool
    sessions_only: bool
    query: Fields
    body: BodyKind
    fields: Fields
    free: frozenset[str]


def load_yaml(name: str) -> Any:
    """Parse a YAML file of this package."""
    return yaml.safe_load(resources.files("manifest").joinpath(name).read_text("utf-8"))


@cache
def routes() -> MappingProxyType[tuple[str, str], Route]:
    """All routes by (verb, shape); shape is the path with every variable segment replaced by `{}`."""
    table: dict[tuple[str, str], Route] = {}
    for entry in TypeAdapter(list[RouteEntry]).validate_python(load_yaml("registry.yaml")):
        for path in (entry.path, *entry.aliases):
            key = (entry.verb, shape_of(path))
            if key in table:
                raise ValueError(f"{entry.method}: {entry.verb} {path} is already {table[key].method}")
            table[key] = _compile(entry, path)
    return MappingProxyType(table)


@cache
def route_of(method: str) -> Route:
    """The (first) route of a method. Raises KeyError."""
    for route in routes().values():
        if route.method == method:
            return route
    raise KeyError(method)


def shape_of(template: str) -> str:
    """`/v1/accounts/{account}/datasets/{dataset}:upload` -> `/v1/accounts/{}/datasets/{}:upload`."""
    return "".join("{}" + part[part.index("}") + 1 :] if "}" in part else part for part in template.split("{"))


def _compile(entry: RouteEntry, path: str) -> Route:
    body: BodyKind = entry.body if isinstance(entry.body, str) else "none" if entry.body is None else "json"
    fields = entry.body if isinstance(entry.body, dict) else {}
    if unknown := set(entry.free) - set(fields):
        raise ValueError(f"{entry.method}: free fields {unknown} are not in the body")
    return Route(
        method=entry.method,
        verb=entry.verb,
        path=path,
        params=tuple(part.split("}")[0] for part in path.split("{")[1:]),
        surface=entry.surface,
        action=entry.action,
        public=entry.public,
        sessions_only=entry.sessions_only,
        query=MappingProxyType(dict(_compile_query(text) for text in entry.query)),
        body=body,
        fields=MappingProxyType({name: _compile_field(spec) for name, spec in fields.items()}),
        free=frozenset(entry.free),
    )


def _compile_query(text: str) -> tuple[str, Field]:
    name, _, spec = text.partition(" ")
    return name.rstrip("*"), _compile_field(spec or "text")._replace(repeated=name.endswith("*"))


def _compile_field(spec: str | dict[str, str]) -> Field:
    if isinstance(spec, dict):
        inner = {name: _compile_field(text) for name, text in spec.items()}
        return Field("object", fields=MappingProxyType(inner))
    kind, _, collection = spec.partition(" ")
    if kind not in _TYPES or bool(collection) != (kind in ("name", "own", "new")):
        raise ValueError(f"unknown field type {spec!r}")
    return Field(kind, collection)


_TYPES = {
    *("text", "id", "integer", "number", "boolean", "object", "list", "any"),
    *("content", "name", "own", "new", "target"),
}
