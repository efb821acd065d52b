"""Delivers notices: a task of every control process; each notice is claimed by one of them at a time."""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from agent import journal
from agent.notices.channel import Channel, NotDeliveredError
from agent.notices.message import compose
from agent.notices.outbox import claim_notices, settle_notice
from agent.store import writing
from agent.tables import NoticeRow
from pilotlight.errors import PilotlightError

log = logging.getLogger(__name__)
DELAYS = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0, 28_800.0)
"""Seconds after each failed attempt: eleven attempts within a day."""
_JITTER = 0.1
_AT_ONCE = 8


class Deliverer:
    """`run` is a background task; it costs one read a second while nothing is due."""

    def __init__(
        self, engine: Engine, channels: Mapping[str, Channel], url: str, delays: Sequence[float] = DELAYS,
        poll_seconds: float = 1.0,
    ) -> None:  # fmt: skip
        self._engine, self._channels, self._url = engine, channels, url
        self._delays, self._poll = delays, poll_seconds

    async def run(self) -> None:
        """Deliver what is due, again and again, until cancelled."""
        try:
            while self._channels:
                count = 0
                try:
                    count = await self.step()
                except (PilotlightError, SQLAlchemyError, OSError) as error:
                    log.warning("Notifications have to wait: %s", error)
                except Exception:
                    log.exception("Notifications failed by a defect of ours, and are tried again.")
                if not count:
                    await asyncio.sleep(self._poll)
        finally:
            for channel in self._channels.values():
                await channel.aclose()

    async def step(self) -> int:
        """Try what is due now once, a few at a time; returns how many that were."""
        notices = await run_in_threadpool(claim_notices, self._engine, list(self._channels), _AT_ONCE)
        await asyncio.gather(*(self._deliver(notice) for notice in notices))
        return len(notices)

    async def _deliver(self, notice: NoticeRow) -> None:
        try:
            await self._channels[notice.channel].send(notice.id, compose(notice, self._url))
        except NotDeliveredError as error:
            await run_in_threadpool(self._fail, notice, error)
        else:
            await run_in_threadpool(self._succeed, notice)

    def _succeed(self, notice: NoticeRow) -> None:
        with writing(self._engine) as db:
            settle_notice(db, notice, "delivered")

    def _fail(self, notice: NoticeRow, error: NotDeliveredError) -> None:
        given_up = error.final or notice.attempts > len(self._delays)
        log.warning(
            "The %s notification %s of %s, attempt %d: %s%s.",
            notice.channel, notice.id, notice.session_id, notice.attempts, error, "; given up" if given_up else "",
        )  # fmt: skip
        with writing(self._engine) as db:
            if given_up:
                if settle_notice(db, notice, "given_up", str(error)):
                    journal.append(db, notice.session_id, "error", _last_words(notice, error))
            else:
                delay = self._delays[notice.attempts - 1] * random.uniform(1 - _JITTER, 1 + _JITTER)
                settle_notice(db, notice, "pending", str(error), max(delay, error.wait))


def _last_words(notice: NoticeRow, error: NotDeliveredError) -> dict[str, str]:
    return {
        "message": f"Nobody was told that this session is {notice.status}: the {notice.channel} notification was given "
        f"up after {notice.attempts} attempts, at last because {error}.",
        "hint": "Try the channel with `pilotlight notify --test`.",
    }
