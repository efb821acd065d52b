"""What a decision is made from, and what it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from manifest.registry import Route

Status = Literal["PERMISSION_DENIED", "INVALID_ARGUMENT"]


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """A request as it arrived: nothing decoded, nothing normalised.

    `body` is None while it has not been read (or is streamed): then everything but the body is decided.
    """

    verb: str
    raw_path: bytes
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `session` is set for a session's runner, `preset` for a key that is bound to a capability manifest."""

    account: str
    user: str = ""
    role: str = "user"
    session: str | None = None
    preset: str | None = None

    @property
    def bound(self) -> bool:
        """Whether the manifest is this caller's ceiling; its requests are read strictly."""
        return self.session is not None or self.preset is not None


class Owner(NamedTuple):
    """Who created a resource, and in which session (empty: none)."""

    user: str
    session: str


OwnerLookup = Callable[[str], Owner | None]
"""Full resource name -> its owner; None when unknown, which never counts as one's own."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that passed the parser: all that the upstream request is rebuilt from."""

    route: Route
    path: str
    params: dict[str, str]
    query: list[tuple[str, str]]
    body: Any = None
    references: list[tuple[str, str]] = field(default_factory=list)
    """(access, name) of every resource that query and body name; access: name, own, new, target."""

    @property
    def resource(self) -> str:
        """The resource name the path addresses, or its parent for collections; empty for inference."""
        return self.path.split(":")[0].removeprefix("/v1/") if self.params else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. `rule` names what refused (or `allowed`), `reason` says it to a person."""

    method: str
    resource: str
    kind: str
    allowed: bool
    rule: str
    reason: str
    status: Status = "PERMISSION_DENIED"
    call: Call | None = None


class Refusal(Exception):
    """Raised inside the decision; never leaves `decide`."""

    def __init__(self, rule: str, reason: str, status: Status = "PERMISSION_DENIED") -> None:
        super().__init__(reason)
        self.rule, self.reason = rule, reason
        self.status: Status = status
