"""What the agent is told about calls, for the session's event log."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True)
class RpcRecord:
    """One call of a session (or one that the gateway made to end what reached its limit)."""

    session: str
    principal: str
    method: str
    """RPC name; empty when the request was none that exists."""
    resource: str
    kind: str
    allowed: bool
    rule: str
    reason: str
    cost: Decimal
    """Reserved for this call, in dollars."""
    code: int
    """HTTP status of the answer."""
    replayed: bool = False


class RpcListener(Protocol):
    """Called once per call of a session, after its outcome is recorded and before its body is streamed."""

    async def __call__(self, record: RpcRecord) -> None:
        """Take note; an exception fails the request."""
        ...
