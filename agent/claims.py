"""Claiming: the next pending session becomes running, under a new epoch and a lease, in one transaction."""

from typing import NamedTuple

from sqlalchemy import Engine

from agent import queue
from agent.leases import Holder
from agent.store import reading, writing
from agent.turns import Turn, begin_turn
from pilotlight.crashpoints import Point, reach


class Terms(NamedTuple):
    """Under which a worker claims."""

    holder: Holder
    lease_seconds: float
    account_turns: int
    """Running sessions of one account at most, on all workers together; 0: no limit."""


def claim_next(engine: Engine, terms: Terms) -> Turn | None:
    """Begin the turn of the session that is next; None when none may begin now."""
    while _is_queued(engine):
        with writing(engine) as db:
            session_id = queue.find_first(db, terms.account_turns)
            if session_id is None:
                return None
            turn = begin_turn(db, session_id, terms.holder, terms.lease_seconds)
            reach(Point.CONTROL_TURN_BEGUN)
        if turn is not None:
            reach(Point.CONTROL_TURN_COMMITTED)
            return turn
    return None


def _is_queued(engine: Engine) -> bool:
    """A look that neither waits for a writer nor makes one wait."""
    with reading(engine) as db:
        return not queue.is_empty(db)
