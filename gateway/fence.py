"""A runner's call passes only while its turn is the session's present one: what a lost worker sends is refused.

The gateway knows no sessions. Whoever builds it says how a turn is recognised, in the transaction that lets a call in:
a turn that ends, is cancelled or taken over in the same moment comes before that transaction or after it.
"""

from typing import Protocol

from sqlalchemy import Connection

from gateway.principal import Principal
from gateway.uncovered import Uncovered


class Fence(Protocol):
    """Tells which turns run."""

    def __call__(self, db: Connection, session: str, epoch: int) -> bool:
        """Whether the turn of this epoch runs now, and will until the transaction of `db` ends."""
        ...


RULE = "turn.over"


def check(db: Connection, principal: Principal, fence: Fence) -> None:
    """Raises Uncovered for a session whose turn is over; other principals have no turn."""
    if principal.session is not None and not fence(db, principal.session, principal.epoch):
        raise Uncovered(RULE, f"the turn that sends it (epoch {principal.epoch}) is over: it was stopped or taken over")
