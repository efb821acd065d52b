"""Leases and their recovery: who is lost, who is only late, and what a clock that jumps does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from agent import journal, leases, locks
from agent.fencing import is_running
from agent.leases import Holder, Lease
from agent.locks import WorkerLock
from agent.recovery import Recovery, Watch
from agent.sessions import delete_session
from agent.stopping import cancel_session
from agent.store import load_session, reading, writing
from agent.tables import LeaseRow, TurnRow
from agent.turns import Turn, fail_turn, report_trouble, take_back
from pilotlight.errors import Aborted, FailedPrecondition
from tests.fixtures.desk import Desk, begin, open_desk, person


@pytest.fixture
def own(engine: Engine, tmp_path: Path) -> Desk:
    return open_desk(engine, tmp_path, lease_seconds=0.6, beat_seconds=0.1)


def status(own: Desk, turn: Turn) -> str:
    with reading(own.engine) as db:
        return load_session(db, turn.session).status


def shift(own: Desk, seconds: float) -> None:
    """As if the database's clock had jumped by this much."""
    with writing(own.engine) as db:
        db.connection().execute(update(LeaseRow).values(expires=LeaseRow.expires - seconds))


def beat(own: Desk, turn: Turn, holder: Holder) -> set[leases.Held]:
    with writing(own.engine) as db:
        return leases.beat(db, holder.worker, [turn.session], 0.6)


def recovery(own: Desk) -> Recovery:
    return Recovery(own.engine, own.settings, Holder("other", locks.read_machine(own.settings.home)))


def test_a_worker_of_this_machine_that_has_ended_is_found_at_once_and_its_turn_is_certainly_over(own: Desk) -> None:
    lock = WorkerLock(own.settings.home)
    turn = begin(own.engine, own.create(), lock.holder)
    assert recovery(own).step() == []
    lock.close()
    assert recovery(own).step() == [turn.session]
    assert status(own, turn) == "pending"
    with reading(own.engine) as db:
        assert load_session(db, turn.session).epoch == turn.epoch + 1
        assert db.get_one(TurnRow, (turn.session, turn.epoch)).ended is not None
    assert begin(own.engine, turn.session, Holder("w", lock.holder.machine)).resident


def test_a_process_that_is_stopped_is_not_dead_and_one_that_was_killed_is(tmp_path: Path) -> None:
    code = "from agent.locks import WorkerLock; l = WorkerLock(__import__('pathlib').Path(%r)); print(l.holder.worker)"
    hold = code % str(tmp_path) + "; import sys; sys.stdout.flush(); sys.stdin.read()"
    command = [sys.executable, "-P", "-c", hold]
    pipe, environment = subprocess.PIPE, os.environ | {"PYTHONPATH": str(Path(locks.__file__).parents[1])}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        worker = process.stdout.readline().strip()
        assert not locks.is_dead(tmp_path, worker)
        os.kill(process.pid, 19)
        assert not locks.is_dead(tmp_path, worker)
        process.kill()
    assert locks.is_dead(tmp_path, worker)
    assert not locks.is_dead(tmp_path, "nobody-ever")
    locks.remove_dead(tmp_path, {worker})
    assert locks.is_dead(tmp_path, worker), "a lease still names it"
    locks.remove_dead(tmp_path, set())
    assert not locks.is_dead(tmp_path, worker)


def test_a_worker_elsewhere_is_lost_when_its_lease_expires_without_a_beat(own: Desk) -> None:
    far = Holder("far", "another machine")
    turn = begin(own.engine, own.create(), far)
    watching, started = recovery(own), time.monotonic()
    with writing(own.engine) as db:
        leases.beat(db, "far", [turn.session], 0.6)
    while not watching.step():
        assert time.monotonic() - started < 10
        time.sleep(0.02)
    assert time.monotonic() - started >= 0.6
    assert beat(own, turn, far) == set(), "it no longer holds what it ran"
    assert not begin(own.engine, turn.session, Holder("w", "another machine")).resident, "it may still be writing"


def test_a_clock_that_jumps_forward_takes_no_session_from_a_worker_that_lives(own: Desk) -> None:
    far = Holder("far", "another machine")
    turn = begin(own.engine, own.create(), far)
    watching = recovery(own)
    for _ in range(8):
        shift(own, 3600)
        assert watching.step() == []
        time.sleep(0.06)
        assert beat(own, turn, far) == {(turn.session, turn.epoch)}
    assert status(own, turn) == "running"


def test_a_clock_that_jumps_back_does_not_keep_a_lost_worker_alive(own: Desk) -> None:
    turn = begin(own.engine, own.create(), Holder("far", "another machine"))
    shift(own, -3600)
    watching, started = recovery(own), time.monotonic()
    while not watching.step():
        assert time.monotonic() - started < 10
        time.sleep(0.02)
    assert status(own, turn) == "pending"


def test_a_beat_that_comes_before_the_takeover_prevents_it(own: Desk) -> None:
    far = Holder("far", "another machine")
    turn = begin(own.engine, own.create(), far)
    seen = Lease(turn.session, turn.epoch, "far", "another machine", 0, True)
    watch = Watch(20.0, 5.0, iter([0.0, 11.0]).__next__)
    watch.look([seen])
    assert watch.is_silent(seen)
    beat(own, turn, far)
    with writing(own.engine) as db:
        assert not leases.drop(db, turn.session, turn.epoch, seen.beats)
    assert status(own, turn) == "running"


def test_a_running_session_without_a_lease_goes_on(own: Desk) -> None:
    turn = begin(own.engine, own.create())
    with writing(own.engine) as db:
        leases.drop(db, turn.session, turn.epoch)
    assert recovery(own).step() == [turn.session]
    assert status(own, turn) == "pending"


def test_a_session_is_not_deleted_while_its_process_may_exist(own: Desk) -> None:

    turn = begin(own.engine, own.create())
    cancel_session(own.engine, person(), turn.session)
    with reading(own.engine) as db:
        assert leases.find_held(db, "worker") == set(), "its worker is to stop it"
    with pytest.raises(FailedPrecondition, match="still being stopped"):
        delete_session(own.engine, own.settings, person(), turn.session)
    with writing(own.engine) as db:
        leases.drop(db, turn.session, turn.epoch)
    delete_session(own.engine, own.settings, person(), turn.session)


def test_nothing_is_written_under_a_lost_epoch(own: Desk) -> None:

    turn = begin(own.engine, own.create())
    assert take_back(own.engine, (turn.session, turn.epoch), "lost", certain=False)
    successor = begin(own.engine, turn.session)
    fail_turn(own.engine, turn, "late", "")
    with pytest.raises(Aborted):
        report_trouble(own.engine, turn, "late", "")
    with pytest.raises(Aborted), writing(own.engine) as db:
        journal.append(db, turn.session, "phase", {}, epoch=turn.epoch)
    assert status(own, successor) == "running"


@pytest.mark.parametrize("readonly", [False, True], ids=["admission", "a last look before sending"])
def test_only_the_present_epoch_of_a_running_session_passes_the_gateways_fence(own: Desk, readonly: bool) -> None:

    def passes(turn: Turn) -> bool:
        with own.engine.execution_options(readonly=readonly).begin() as db:
            return is_running(db, turn.session, turn.epoch)

    zombie = begin(own.engine, own.create())
    assert passes(zombie)
    assert not passes(zombie._replace(epoch=0))
    assert take_back(own.engine, (zombie.session, zombie.epoch), "lost", certain=False)
    assert not passes(zombie), "nobody runs it"
    heir = begin(own.engine, zombie.session)
    assert (passes(zombie), passes(heir)) == (False, True)
    cancel_session(own.engine, person(), heir.session)
    assert not passes(heir)
