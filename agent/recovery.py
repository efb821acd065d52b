"""Finds turns whose worker was lost, and puts their sessions back into the queue.

A worker of this machine whose lock is free has ended: its sessions go on at once. Any other one is lost when its lease
has expired and it was seen to give no sign of life meanwhile. Both, because a clock can jump: forward, every lease
expires at once; backward, none does for hours.
"""

import logging
import time
from collections.abc import Callable

from sqlalchemy import Engine

from agent import leases, locks, turns
from agent.leases import Holder, Lease
from agent.store import reading
from pilotlight.settings import Settings

log = logging.getLogger(__name__)
_RESTARTED = "the process that ran it has ended"
_LOST = "the worker that ran it gave no more sign of life"


class Recovery:
    """One per worker, any number per database: of several that find the same turn, one puts it back."""

    def __init__(self, engine: Engine, settings: Settings, holder: Holder) -> None:
        self._engine, self._home, self._holder = engine, settings.home, holder
        self._watch = Watch(settings.lease_seconds, settings.beat_seconds)

    def step(self) -> list[str]:
        """Look once; returns the sessions that were put back or concluded."""
        with reading(self._engine) as db:
            found, unleased = leases.list_leases(db), leases.list_unleased(db)
        self._watch.look(found)
        done = [lease.session for lease in found if self._is_lost(lease) and self._take_back(lease)]
        for held in unleased:
            turns.take_back(self._engine, held, _RESTARTED, certain=True)
        return done + [session for session, _ in unleased]

    def sweep(self) -> None:
        """Remove what workers of this machine that have ended left behind."""
        with reading(self._engine) as db:
            locks.remove_dead(self._home, {lease.worker for lease in leases.list_leases(db)})

    def _is_lost(self, lease: Lease) -> bool:
        return self._is_dead(lease) or self._watch.is_silent(lease)

    def _is_dead(self, lease: Lease) -> bool:
        return lease.machine == self._holder.machine and locks.is_dead(self._home, lease.worker)

    def _take_back(self, lease: Lease) -> bool:
        dead = self._is_dead(lease)
        log.warning("Session %s: worker %s %s.", lease.session, lease.worker, "has ended" if dead else "is silent")
        held, reason = (lease.session, lease.epoch), _RESTARTED if dead else _LOST
        return turns.take_back(self._engine, held, reason, certain=dead, beats=lease.beats)


class Watch:
    """When each lease was last seen to beat, by a clock of this process that never jumps."""

    def __init__(self, lease_seconds: float, beat_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_seconds, self._beat_seconds, self._clock = lease_seconds, beat_seconds, clock
        self._seen: dict[leases.Held, tuple[int, float]] = {}

    def look(self, found: list[Lease]) -> None:
        """Note the leases as they are now."""
        moment, former = self._clock(), self._seen
        self._seen = {}
        for lease in found:
            key = (lease.session, lease.epoch)
            beats, since = former.get(key, (-1, moment))
            self._seen[key] = (beats, since) if beats == lease.beats else (lease.beats, moment)

    def is_silent(self, lease: Lease) -> bool:
        """Whether its worker is lost: expired and two beats missed, or no beat for as long as a lease lasts."""
        _, since = self._seen[(lease.session, lease.epoch)]
        silent = self._clock() - since
        return silent > self._lease_seconds or (lease.expired and silent > 2 * self._beat_seconds)
