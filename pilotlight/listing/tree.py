"""A parsed filter: a tree that can be asked about a resource, or read by whoever translates it for a database."""

from dataclasses import dataclass
from typing import Any

from pilotlight.listing.fields import look_up
from pilotlight.listing.matching import compare


@dataclass(frozen=True)
class Restriction:
    """`path operator value`; `quoted` tells `"*"` from `*`."""

    path: str
    operator: str
    value: str
    quoted: bool

    def __call__(self, resource: dict[str, Any]) -> bool:
        """Whether the resource matches."""
        return compare(look_up(resource, self.path), self.operator, self.value, self.quoted)


@dataclass(frozen=True)
class Every:
    """All parts match; none: always."""

    parts: tuple["Filter", ...]

    def __call__(self, resource: dict[str, Any]) -> bool:
        """Whether the resource matches."""
        return all(part(resource) for part in self.parts)


@dataclass(frozen=True)
class Either:
    """One of the parts matches."""

    parts: tuple["Filter", ...]

    def __call__(self, resource: dict[str, Any]) -> bool:
        """Whether the resource matches."""
        return any(part(resource) for part in self.parts)


@dataclass(frozen=True)
class Negation:
    """The part does not match."""

    part: "Filter"

    def __call__(self, resource: dict[str, Any]) -> bool:
        """Whether the resource matches."""
        return not self.part(resource)


Filter = Restriction | Every | Either | Negation


def paths_of(tree: Filter) -> set[str]:
    """All fields that the filter mentions."""
    if isinstance(tree, Restriction):
        return {tree.path}
    parts = (tree.part,) if isinstance(tree, Negation) else tree.parts
    return {path for part in parts for path in paths_of(part)}
