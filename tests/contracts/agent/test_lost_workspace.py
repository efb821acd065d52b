"""A session whose files are lost goes on from the snapshot of its last turn, or says why it cannot."""

import shutil
from pathlib import Path

from sqlmodel import col, select

from agent.store import reading
from agent.tables import SnapshotRow
from pilotlight.database import open_engine
from tests.fixtures.control import ControlServer


def recorded(control: ControlServer, session: str) -> list[str]:
    """Names of the session's snapshots, oldest first."""
    engine = open_engine(control.settings.control_database_url)
    with reading(engine) as db:
        query = select(SnapshotRow.name).where(SnapshotRow.session_id == session).order_by(col(SnapshotRow.epoch))
        names = list(db.exec(query).all())
    engine.dispose()
    return names


def stored(control: ControlServer, session: str) -> list[Path]:
    """Files of the session in the workspace store."""
    return sorted(path for path in (control.settings.home / "workspaces" / session).rglob("*") if path.is_file())


def test_lost_workspace_is_restored_at_the_next_turn(control: ControlServer) -> None:
    session = control.create("write outputs/a.txt kept; ask q; write outputs/b.txt new; finish")
    control.settle(session, "waiting")
    assert len(recorded(control, session)) == 1, "the snapshot is there before the session waits"
    shutil.rmtree(control.workspace(session))
    control.update(session, instruction="A")
    control.settle(session, "succeeded")
    assert (control.workspace(session) / "outputs/a.txt").read_text() == "kept"
    artifacts = {artifact["path"] for artifact in control.get(f"/{session}")["artifacts"]}
    assert {"outputs/a.txt", "outputs/b.txt"} <= artifacts
    assert [name.partition("-")[0] for name in recorded(control, session)] == ["1", "2"]


def test_damaged_snapshot_fails_the_turn_with_what_to_do_and_a_retry_goes_on(control: ControlServer) -> None:
    session = control.create("write outputs/a.txt kept; ask q; finish")
    control.settle(session, "waiting")
    (name,) = recorded(control, session)
    newest = control.settings.home / "workspaces" / session / name.replace("-", "/")
    good = newest.read_bytes()
    newest.write_bytes(good[:-1])
    shutil.rmtree(control.workspace(session))
    control.update(session, instruction="A")
    control.settle(session, "failed")
    (error,) = [event["payload"] for event in control.events(session) if event["type"] == "error"]
    assert "damaged" in error["message"]
    assert str(newest) in error["hint"]
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


def test_deleting_a_session_deletes_its_snapshots_and_those_of_no_other(control: ControlServer) -> None:
    session, other = (control.create("write outputs/a.txt same; finish") for _ in range(2))
    for each in (session, other):
        control.settle(each, "succeeded")
        control.wait_idle(each)
        assert stored(control, each)
    assert control.http.delete(f"{control.collection}/{session}").status_code == 200
    assert not control.workspace(session).parent.exists()
    assert stored(control, session) == []
    assert recorded(control, session) == []
    shutil.rmtree(control.workspace(other))
    assert b"same" in control.http.get(f"{control.collection}/{other}/artifacts/outputs/a.txt").content


def test_artifacts_of_a_workspace_that_is_not_here_come_from_the_newest_snapshot(control: ControlServer) -> None:
    session = control.create("write outputs/a.txt one; write secret hidden; ask q; write outputs/b.txt two; finish")
    control.settle(session, "waiting")
    work = control.workspace(session)
    here = control.get(f"/{session}/artifacts")["artifacts"]
    work.rename(work.with_name("elsewhere"))
    there = control.get(f"/{session}/artifacts")["artifacts"]
    assert [(item["path"], item["sizeBytes"]) for item in there] == [(item["path"], item["sizeBytes"]) for item in here]
    assert control.get(f"/{session}")["artifacts"] == there
    path = f"{control.collection}/{session}/artifacts"
    assert control.http.get(f"{path}/outputs/a.txt").text == "one"
    assert [control.http.get(f"{path}/{name}").status_code for name in ("secret", "outputs/no", "outputs")] == [404] * 3
    assert control.http.get(f"{path}/outputs/a.txt/%2e%2e").status_code in (400, 404)


def test_damaged_artifact_is_not_served(control: ControlServer) -> None:
    session = control.create("write outputs/a.txt one; finish")
    control.settle(session, "succeeded")
    control.wait_idle(session)
    shutil.rmtree(control.workspace(session))
    (content,) = [path for path in stored(control, session) if path.read_bytes() == b"one"]
    content.write_bytes(b"two")
    reply = control.http.get(f"{control.collection}/{session}/artifacts/outputs/a.txt")
    assert (reply.status_code, b"two" in reply.content) == (400, False)
    content.unlink()
    assert control.http.get(f"{control.collection}/{session}/artifacts/outputs/a.txt").status_code == 400


def test_session_is_shown_and_answered_though_its_snapshot_is_damaged(control: ControlServer) -> None:
    session = control.create("write outputs/a.txt one; ask q; finish")
    control.settle(session, "waiting")
    (name,) = recorded(control, session)
    manifest = control.settings.home / "workspaces" / session / name.replace("-", "/")
    good = manifest.read_bytes()
    work = control.workspace(session)
    shutil.rmtree(work)
    manifest.unlink()
    assert control.get(f"/{session}")["artifacts"] is None
    assert control.get(f"/{session}/artifacts", code=400)["error"]["status"] == "FAILED_PRECONDITION"
    manifest.write_bytes(good)
    control.update(session, instruction="A")
    control.settle(session, "succeeded")


def test_only_the_newest_snapshots_are_kept(fresh: ControlServer) -> None:
    session = fresh.create("write outputs/a.txt one; ask q1; write outputs/a.txt two; ask q2; write outputs/a.txt 3; "
                           "ask q3; write outputs/a.txt four; ask q4; finish")  # fmt: skip
    for turn in range(1, 5):
        fresh.settle(session, "waiting", turn)
        fresh.update(session, instruction="A")
    fresh.settle(session, "succeeded")
    fresh.wait_idle(session)
    fresh.stop()
    names = recorded(fresh, session)
    assert len(names) == 3
    files = {str(path.relative_to(fresh.settings.home / "workspaces" / session)) for path in stored(fresh, session)}
    assert {name.replace("-", "/") for name in names} <= files
    assert not [name for name in files if name.startswith("1/")], "nothing of the first turn is needed any more"
