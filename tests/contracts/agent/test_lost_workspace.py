"""A session whose files are lost goes on from the snapshot of its last turn, or says why it cannot."""

import shutil
from pathlib import Path

from tests.fixtures.control import ControlServer


def snapshots(control: ControlServer, session: str) -> list[Path]:
    return sorted((control.workspace(session).parent / "snapshots").iterdir())


def test_lost_workspace_is_restored_at_the_next_turn(control: ControlServer) -> None:
    session = control.create("write outputs/a.txt kept; ask q; write outputs/b.txt new; finish")
    control.settle(session, "waiting")
    assert len(snapshots(control, session)) == 1, "the snapshot is there before the session waits"
    shutil.rmtree(control.workspace(session))
    control.update(session, instruction="A")
    control.settle(session, "succeeded")
    assert (control.workspace(session) / "outputs/a.txt").read_text() == "kept"
    artifacts = {artifact["path"] for artifact in control.get(f"/{session}")["artifacts"]}
    assert {"outputs/a.txt", "outputs/b.txt"} <= artifacts
    assert len(snapshots(control, session)) == 2


def test_damaged_snapshot_fails_the_turn_with_what_to_do_and_a_retry_goes_on(control: ControlServer) -> None:
    session = control.create("write outputs/a.txt kept; ask q; finish")
    control.settle(session, "waiting")
    (newest,) = snapshots(control, session)
    good = newest.read_bytes()
    newest.write_bytes(good[:-1])
    shutil.rmtree(control.workspace(session))
    control.update(session, instruction="A")
    control.settle(session, "failed")
    (error,) = [event["payload"] for event in control.events(session) if event["type"] == "error"]
    assert "damaged" in error["message"]
    assert newest.name in error["hint"]
    newest.write_bytes(good)
    control.update(session, instruction="say again")
    control.settle(session, "succeeded")
    assert (control.workspace(session) / "outputs/a.txt").read_text() == "kept"


def test_workspace_that_no_snapshot_can_hold_does_not_fail_the_session_but_it_says_so(fresh: ControlServer) -> None:
    session = fresh.create("write outputs/a. x; finish")
    fresh.settle(session, "succeeded")
    (error,) = [event["payload"] for event in fresh.events(session) if event["type"] == "error"]
    assert "not in a snapshot" in error["message"]
    assert "'outputs/a.'" in error["message"]


def test_links_left_in_the_workspace_are_in_no_snapshot_and_no_listing(control: ControlServer) -> None:
    session = control.create("write outputs/a.txt kept; wait go; ask q; finish")
    control.settle_until(session, lambda view: (control.workspace(session) / "outputs/a.txt").exists())
    outputs = control.workspace(session) / "outputs"
    (outputs / "key").symlink_to(control.settings.home / "admin.key")
    (outputs / "home").symlink_to(control.settings.home, target_is_directory=True)
    (control.workspace(session) / "go").touch()
    control.settle(session, "waiting")
    shutil.rmtree(control.workspace(session))
    control.update(session, instruction="A")
    control.settle(session, "succeeded")
    assert {path.name for path in outputs.iterdir()} == {"a.txt"}


def test_deleting_a_session_deletes_its_snapshots(control: ControlServer) -> None:
    session = control.create("finish")
    control.settle(session, "succeeded")
    assert snapshots(control, session)
    assert control.http.delete(f"{control.collection}/{session}").status_code == 200
    assert not control.workspace(session).parent.exists()
