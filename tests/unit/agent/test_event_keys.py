"""A runner's event keys are its own: they keep no event of the control process from being told."""

import asyncio
import hashlib
from decimal import Decimal
from pathlib import Path

from sqlmodel import select

from agent.calls import CallLog
from agent.context import Control
from agent.dispatch import Dispatcher
from agent.feeds import Feeds
from agent.fencing import is_running
from agent.launchers import Launcher
from agent.notices.deliverer import Deliverer
from agent.store import reading
from agent.tables import EventRow
from agent.turn_api import append_events
from agent.turn_wire import NewEvent, NewEvents
from agent.turns import Turn
from gateway import Gateway, PlatformClient, RpcRecord
from pilotlight.plan import canonical_json
from runner.sandbox.child import Process
from tests.fixtures.desk import Desk


class Refuser(Launcher):
    """Starts nothing."""

    async def __call__(self, turn: Turn, workspace: Path, socket_folder: Path) -> Process:
        """Raises OSError."""
        raise OSError(f"nothing is started for {turn.session} in {workspace} and {socket_folder}")


def test_a_runner_cannot_take_the_key_of_a_refused_call(desk: Desk) -> None:
    turn = desk.turn(desk.create())
    method, resource, rule, reason = "DeleteModel", "accounts/acme/models/m", "manifest", "not in the manifest"
    same = canonical_json([method, resource, False, rule, reason])
    key = "rpc/" + hashlib.sha256(same.encode()).hexdigest()[:24]
    platform = PlatformClient("")
    gateway = Gateway(desk.engine, desk.settings, platform, is_running=is_running)
    dispatcher = Dispatcher(desk.engine, desk.settings, Refuser())
    deliverer = Deliverer(desk.engine, {}, "")
    control = Control(desk.settings, desk.engine, gateway, dispatcher, platform, Feeds(desk.engine), deliverer)
    squatter = NewEvent(type="status_info", payload={"text": "nothing happened"}, key=key)
    append_events(control, turn, NewEvents(events=[squatter, squatter]))
    gateway.close()
    record = RpcRecord(turn.session, "s", method, resource, "delete", False, rule, reason, Decimal(0), 403)
    asyncio.run(CallLog(desk.engine)(record))
    with reading(desk.engine) as db:
        events = db.exec(select(EventRow).where(EventRow.session_id == turn.session).order_by("seq")).all()
    assert [event.type for event in events[-2:]] == ["status_info", "rpc"]
