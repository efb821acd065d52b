import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.workspace import Workspace
from pilotlight.errors import FailedPrecondition, ResourceExhausted
from pilotlight.settings import Settings


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(Settings(home=tmp_path, snapshots_kept=2), "1779157376-41e1")
    workspace.make()
    (workspace.work / "plan.md").write_text("plan 1")
    return workspace


def names(workspace: Workspace) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in (workspace.folder / "snapshots").iterdir())


def lose(workspace: Workspace) -> None:
    workspace.work.rename(workspace.folder.parent / f"lost-{time.monotonic_ns()}")


def test_unchanged_workspace_is_not_saved_again_and_only_the_newest_are_kept(workspace: Workspace) -> None:
    assert workspace.snapshots.save(workspace.work)
    assert not workspace.snapshots.save(workspace.work)
    assert names(workspace) == ["00000001"]
    for number in (2, 3):
        (workspace.work / "plan.md").write_text(f"plan {number}")
        assert workspace.snapshots.save(workspace.work)
    assert names(workspace) == ["00000002", "00000003"]
    (workspace.work / "plan.md").write_text("plan 2")
    assert workspace.snapshots.save(workspace.work), "going back is a change too"
    lose(workspace)
    workspace.prepare(turn=5)
    assert (workspace.work / "plan.md").read_text() == "plan 2"


def test_present_workspace_is_left_alone(workspace: Workspace) -> None:
    workspace.snapshots.save(workspace.work)
    (workspace.work / "plan.md").write_text("newer")
    workspace.prepare(turn=2)
    assert (workspace.work / "plan.md").read_text() == "newer"


def test_files_that_are_not_those_of_the_last_turn_are_not_used(workspace: Workspace) -> None:
    """The last turn was on another machine, or its process may still be writing here: into the folder that it has."""
    workspace.snapshots.save(workspace.work)
    with (workspace.work / "plan.md").open("w") as zombie:
        workspace.prepare(turn=2, resident=False)
        zombie.write("written late")
    assert (workspace.work / "plan.md").read_text() == "plan 1"
    assert sorted(path.name for path in workspace.folder.iterdir()) == ["snapshots", "work"]


def test_first_turn_starts_empty_and_a_later_one_without_a_snapshot_says_what_to_do(workspace: Workspace) -> None:
    lose(workspace)
    workspace.prepare(turn=1)
    assert list(workspace.work.iterdir()) == []
    lose(workspace)
    with pytest.raises(FailedPrecondition, match="no snapshot") as refused:
        workspace.prepare(turn=2)
    assert "backup" in refused.value.hint
    assert not workspace.work.exists()


def test_damaged_snapshot_is_an_error_and_the_older_one_is_not_taken_unasked(workspace: Workspace) -> None:
    workspace.snapshots.save(workspace.work)
    (workspace.work / "plan.md").write_text("plan 2")
    workspace.snapshots.save(workspace.work)
    newest = max((workspace.folder / "snapshots").iterdir())
    content = newest.read_bytes()
    newest.write_bytes(content[:4] + b"\1" + content[5:])  # a byte that no decompressor looks at
    lose(workspace)
    before = sorted(workspace.folder.iterdir())
    with pytest.raises(FailedPrecondition, match="damaged: Its content is not what was stored") as refused:
        workspace.prepare(turn=2)
    assert f"sessions/1779157376-41e1/snapshots/{newest.name}" in refused.value.hint
    assert sorted(workspace.folder.iterdir()) == before
    newest.unlink()
    workspace.prepare(turn=2)
    assert (workspace.work / "plan.md").read_text() == "plan 1"


def test_snapshot_that_we_did_not_write_is_refused_though_its_name_fits(workspace: Workspace) -> None:
    content = gzip.compress(b"not a tar" * 200)
    folder = workspace.folder / "snapshots"
    folder.mkdir()
    (folder / f"00000001-{hashlib.sha256(content).hexdigest()}.tar.gz").write_bytes(content)
    lose(workspace)
    with pytest.raises(FailedPrecondition, match="damaged"):
        workspace.prepare(turn=2)
    assert [path.name for path in workspace.folder.iterdir()] == ["snapshots"]


def test_failed_save_leaves_the_snapshots_as_they_were(workspace: Workspace) -> None:
    workspace.snapshots.save(workspace.work)
    small = Workspace(Settings(home=workspace.folder.parents[1], snapshot_bytes=3), workspace.folder.name)
    with pytest.raises(ResourceExhausted):
        small.snapshots.save(workspace.work)
    assert names(workspace) == ["00000001"]


def test_removal_takes_everything_and_follows_no_link(workspace: Workspace) -> None:
    elsewhere = workspace.folder.parents[1] / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (workspace.work / "link").symlink_to(elsewhere, target_is_directory=True)
    workspace.snapshots.save(workspace.work)
    workspace.remove()
    workspace.remove()
    assert not workspace.folder.exists()
    assert (elsewhere / "kept").exists()


def test_killed_at_any_moment_there_is_a_whole_snapshot_or_none_and_a_restore_is_whole(tmp_path: Path) -> None:
    """A process saves and restores in a loop, and is killed; then a restore by us gives one of its states, whole."""
    program = (
        "import sys, pathlib, shutil\n"
        "from agent.workspace import Workspace\n"
        "from pilotlight.settings import Settings\n"
        "space = Workspace(Settings(home=pathlib.Path(sys.argv[1])), 's')\n"
        "space.prepare(1)\n"
        "for number in range(10**6):\n"
        "    for name in ('a', 'b', 'c'):\n"
        "        (space.work / name).write_text(f'{number} ' * 20000)\n"
        "    space.snapshots.save(space.work)\n"
        "    shutil.rmtree(space.work)\n"
        "    space.prepare(2)\n"
        "    print('round', flush=True)\n"
    )
    for round_ in range(6):
        with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as child:
            assert child.stdout
            assert child.stdout.readline() == b"round\n"
            time.sleep(0.05 + 0.03 * round_)
            os.kill(child.pid, signal.SIGKILL)
        workspace = Workspace(Settings(home=tmp_path), "s")
        if workspace.work.exists():
            lose(workspace)
        assert workspace.snapshots.restore(workspace.work)
        states = {path.read_text() for path in workspace.work.iterdir()}
        assert len(states) == 1
        assert len(list(workspace.work.iterdir())) == 3
        assert not list(workspace.folder.glob(".work.*"))
