"""Who speaks to the gateway: a runner is known by its socket, a user by a key, nobody by what a request says."""

from dataclasses import dataclass
from typing import Literal

from manifest.facts import Caller


@dataclass(frozen=True, slots=True)
class Principal:
    """`user` for a session is who drives it: resources it creates belong to that user, and its role still applies."""

    kind: Literal["user", "session", "gateway"]
    account: str
    session: str | None = None
    user: str = ""
    role: str = "user"
    preset: str | None = None
    key_id: str = ""
    epoch: int = 0
    """Of the session's turn that speaks."""
    limited: bool = False
    """Whether the key has a spend limit: outside of sessions it then starts nothing that costs money."""

    def __post_init__(self) -> None:
        if (self.kind == "session") != (self.session is not None):
            raise ValueError("a session principal names its session, and no other does")

    @property
    def caller(self) -> Caller:
        """The facts that decisions are made from."""
        return Caller(self.account, self.user, self.role, self.session, self.preset)

    @property
    def label(self) -> str:
        """For the audit: `session:<id>`, `user:<id>` or `gateway:<task>`."""
        return f"{self.kind}:{self.session or self.user}"


def reaper_of(account: str) -> Principal:
    """The gateway's own principal: ends what reached its approved limit. Outside pilot.yaml, no runner can be it."""
    return Principal("gateway", account, user="reaper", role="admin")
