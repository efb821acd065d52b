import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.objects import FolderStore
from agent.snapshots import parse_name
from agent.workspace import Workspace
from pilotlight.errors import FailedPrecondition, ResourceExhausted
from pilotlight.settings import Settings

SESSION = "1779157376-41e1"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(Settings(home=tmp_path), SESSION)
    workspace.make()
    (workspace.work / "plan.md").write_text("plan 1")
    return workspace


def stored(workspace: Workspace) -> set[str]:
    """All files of the session in the store, as epoch/digest."""
    root = store_of(workspace) / SESSION
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def lose(workspace: Workspace) -> None:
    shutil.rmtree(workspace.work)


def path_of(workspace: Workspace, name: str, path: str | None = None) -> Path:
    """Where a snapshot's manifest is, or the content of a file of it."""
    epoch, digest = parse_name(name)
    if path is not None:
        entry = next(entry for entry in workspace.snapshots.entries(name) if entry.path == path)
        epoch, digest = entry.epoch, entry.digest
    return store_of(workspace) / SESSION / str(epoch) / digest


def test_what_did_not_change_is_not_stored_again(workspace: Workspace) -> None:
    (workspace.work / "data").write_bytes(b"x" * 100_000)
    first = workspace.snapshots.save(workspace.work, 1)
    assert len(stored(workspace)) == 3
    assert workspace.snapshots.save(workspace.work, 2, first) == first
    assert len(stored(workspace)) == 3
    (workspace.work / "plan.md").write_text("plan 2")
    second = workspace.snapshots.save(workspace.work, 3, first)
    assert second.startswith("3-")
    assert {name for name in stored(workspace) if name.startswith("3/")} == {
        f"3/{parse_name(second).digest}",
        f"3/{path_of(workspace, second, 'plan.md').name}",
    }
    for name, plan in ((first, "plan 1"), (second, "plan 2")):
        workspace.snapshots.restore(workspace.work, name)
        assert (workspace.work / "plan.md").read_text() == plan
        assert (workspace.work / "data").read_bytes() == b"x" * 100_000


def test_file_whose_status_is_unchanged_is_not_even_read(workspace: Workspace) -> None:
    (workspace.work / "data").write_bytes(bytes(5 << 20))
    time.sleep(2.1)
    first = workspace.snapshots.save(workspace.work, 1)
    before = bytes_read()
    assert workspace.snapshots.save(workspace.work, 2, first) == first
    assert bytes_read() - before < 1 << 20
    (workspace.folder / "seen.json").unlink()
    before = bytes_read()
    assert workspace.snapshots.save(workspace.work, 3, first) == first
    assert bytes_read() - before > 5 << 20


def bytes_read() -> int:
    """Of this process so far, from the disk or from memory."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize("age", [0, 2.1])
def test_change_that_keeps_size_and_times_is_stored_whether_it_came_at_once_or_later(
    workspace: Workspace, age: float
) -> None:
    data = workspace.work / "data"
    data.write_bytes(b"old")
    status = data.stat()
    time.sleep(age)
    first = workspace.snapshots.save(workspace.work, 1)
    data.write_bytes(b"new")
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = workspace.snapshots.save(workspace.work, 2, first)
    assert path_of(workspace, second, "data").read_bytes() == b"new"


def test_file_that_just_changed_is_not_trusted_next_time(workspace: Workspace) -> None:
    """A clock that ticks slowly could give it the same times after another change."""
    (workspace.work / "data").write_bytes(b"old")
    workspace.snapshots.save(workspace.work, 1)
    assert '"data"' not in (workspace.folder / "seen.json").read_text()


def test_unreadable_or_foreign_hints_only_cost_time(workspace: Workspace) -> None:
    first = workspace.snapshots.save(workspace.work, 1)
    for text in ("{", "[]", '{"snapshot": "1-' + "0" * 64 + '", "files": {"plan.md": [0]}}'):
        (workspace.folder / "seen.json").write_text(text)
        assert workspace.snapshots.save(workspace.work, 2, first) == first


def test_hints_of_another_snapshot_are_not_believed(workspace: Workspace) -> None:
    """The hint is older than the base when a turn in between ran elsewhere: then the status here says nothing."""
    data = workspace.work / "data"
    data.write_bytes(b"old")
    time.sleep(2.1)
    first = workspace.snapshots.save(workspace.work, 1)
    elsewhere = Workspace(
        Settings(home=workspace.folder.parents[1] / "b", workspace_store=str(store_of(workspace))), SESSION
    )
    elsewhere.prepare(2, first, resident=False)
    (elsewhere.work / "data").write_bytes(b"new")
    second = elsewhere.snapshots.save(elsewhere.work, 2, first)
    third = workspace.snapshots.save(workspace.work, 3, second)
    assert path_of(workspace, third, "data").read_bytes() == b"old"


def store_of(workspace: Workspace) -> Path:
    return workspace.folder.parents[1] / "workspaces"


def test_damaged_base_is_not_built_upon(workspace: Workspace) -> None:
    first = workspace.snapshots.save(workspace.work, 1)
    path_of(workspace, first).write_bytes(b"{}")
    second = workspace.snapshots.save(workspace.work, 2, first)
    shutil.rmtree(store_of(workspace) / SESSION / "1")
    workspace.snapshots.restore(workspace.work, second)
    assert (workspace.work / "plan.md").read_text() == "plan 1"


def test_present_workspace_of_this_host_is_left_alone(workspace: Workspace) -> None:
    name = workspace.snapshots.save(workspace.work, 1)
    (workspace.work / "plan.md").write_text("newer")
    workspace.prepare(2, name)
    assert (workspace.work / "plan.md").read_text() == "newer"


def test_stale_workspace_is_replaced_when_the_last_turn_ran_elsewhere(workspace: Workspace) -> None:
    name = workspace.snapshots.save(workspace.work, 1)
    (workspace.work / "plan.md").write_text("stale")
    (workspace.work / "stale").touch()
    workspace.prepare(2, name, resident=False)
    assert [path.name for path in workspace.work.iterdir()] == ["plan.md"]
    assert (workspace.work / "plan.md").read_text() == "plan 1"
    workspace.prepare(1, None, resident=False)
    assert list(workspace.work.iterdir()) == [], "no turn has ended: nothing of a turn that was taken over counts"


def test_first_turn_starts_empty_and_a_later_one_without_a_snapshot_says_what_to_do(workspace: Workspace) -> None:
    lose(workspace)
    workspace.prepare(1, None)
    assert list(workspace.work.iterdir()) == []
    lose(workspace)
    with pytest.raises(FailedPrecondition, match="no snapshot") as refused:
        workspace.prepare(2, None)
    assert "backup" in refused.value.hint
    assert not workspace.work.exists()


def test_turn_without_a_snapshot_is_never_replaced_by_an_older_one(workspace: Workspace) -> None:
    workspace.snapshots.save(workspace.work, 1)
    (workspace.work / "plan.md").write_text("plan 2")
    with pytest.raises(FailedPrecondition, match="ran on another machine"):
        workspace.prepare(3, "", resident=False)
    assert (workspace.work / "plan.md").read_text() == "plan 2"
    workspace.prepare(3, "", resident=True)


@pytest.mark.parametrize("part", ["manifest", "content"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_snapshot_is_an_error_that_says_what_to_do_and_nothing_older_is_taken(
    workspace: Workspace, part: str, damage: str
) -> None:
    first = workspace.snapshots.save(workspace.work, 1)
    (workspace.work / "plan.md").write_text("plan 2")
    second = workspace.snapshots.save(workspace.work, 2, first)
    place = path_of(workspace, second, "plan.md" if part == "content" else None)
    good = place.read_bytes()
    if damage == "missing":
        place.unlink()
    else:
        place.write_bytes(good[:-1] + b" ")
    lose(workspace)
    before = sorted(workspace.folder.iterdir())
    with pytest.raises(FailedPrecondition, match=r"damaged: .*(is not what was stored|is missing)") as refused:
        workspace.prepare(2, second)
    assert str(path_of(workspace, "2-" + parse_name(second).digest)) in refused.value.hint
    assert sorted(workspace.folder.iterdir()) == before
    place.write_bytes(good)
    workspace.prepare(2, second)
    assert (workspace.work / "plan.md").read_text() == "plan 2"


def test_manifest_that_we_did_not_write_is_refused_though_its_name_fits(workspace: Workspace) -> None:
    content = b'{"version":1,"entries":[["../evil","0600",0,"' + b"0" * 64 + b'",1]]}'
    store = FolderStore(store_of(workspace))
    name = f"1-{store.put(SESSION, 1, [content])}"
    lose(workspace)
    with pytest.raises(FailedPrecondition, match="damaged"):
        workspace.prepare(2, name)
    assert list(workspace.folder.iterdir()) == []


def test_failed_save_leaves_the_snapshots_as_they_were(workspace: Workspace) -> None:
    first = workspace.snapshots.save(workspace.work, 1)
    before = stored(workspace)
    small = Workspace(Settings(home=workspace.folder.parents[1], snapshot_bytes=3), SESSION)
    with pytest.raises(ResourceExhausted):
        small.snapshots.save(workspace.work, 2, first)
    assert stored(workspace) == before


def test_sweep_removes_what_is_not_kept_and_nothing_that_a_later_turn_writes(workspace: Workspace) -> None:
    (workspace.work / "data").write_text("data")
    names: list[str] = []
    for epoch in (1, 2, 3):
        (workspace.work / "plan.md").write_text(f"plan {epoch}")
        names.append(workspace.snapshots.save(workspace.work, epoch, names[-1] if names else None))
    assert workspace.snapshots.sweep({names[1], names[2]}, 3) == 2, "the first manifest and the first plan"
    (workspace.work / "plan.md").write_text("plan 1")
    fourth = workspace.snapshots.save(workspace.work, 4, names[2])
    late = workspace.snapshots.sweep({names[1], names[2]}, 3)
    assert late == 0, "a sweep that knew nothing of the fourth turn comes late"
    workspace.snapshots.restore(workspace.work, fourth)
    assert (workspace.work / "data").read_text() == "data"
    assert workspace.snapshots.sweep({fourth}, 5) == 4
    workspace.snapshots.restore(workspace.work, fourth)
    assert {place.split("/")[0] for place in stored(workspace)} == {"1", "4"}


def test_sweep_removes_nothing_when_it_cannot_know_what_is_needed(workspace: Workspace) -> None:
    name = workspace.snapshots.save(workspace.work, 1)
    path_of(workspace, name).write_bytes(b"{}")
    before = stored(workspace)
    with pytest.raises(FailedPrecondition, match="damaged"):
        workspace.snapshots.sweep({name}, 9)
    assert stored(workspace) == before


def test_removal_takes_everything_and_follows_no_link(workspace: Workspace) -> None:
    elsewhere = workspace.folder.parents[1] / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (workspace.work / "link").symlink_to(elsewhere, target_is_directory=True)
    workspace.snapshots.save(workspace.work, 1)
    workspace.remove()
    workspace.remove()
    workspace.snapshots.discard_all()
    workspace.snapshots.discard_all()
    assert not workspace.folder.exists()
    assert stored(workspace) == set()
    assert (elsewhere / "kept").exists()


def test_killed_at_any_moment_what_was_named_is_whole_and_a_restore_is_whole(tmp_path: Path) -> None:
    """A process saves and restores in a loop, and is killed; then a restore by us gives the last state it named."""
    program = (
        "import sys, pathlib, shutil\n"
        "from agent.workspace import Workspace\n"
        "from pilotlight.settings import Settings\n"
        "space = Workspace(Settings(home=pathlib.Path(sys.argv[1])), 's')\n"
        "space.make()\n"
        "previous = None\n"
        "for epoch in range(1, 10**6):\n"
        "    for name in ('a', 'b', 'c'):\n"
        "        (space.work / name).write_text(f'{epoch} ' * 20000)\n"
        "    previous = space.snapshots.save(space.work, epoch, previous)\n"
        "    print(previous, flush=True)\n"
        "    shutil.rmtree(space.work)\n"
        "    space.prepare(2, previous)\n"
        "    space.snapshots.sweep({previous}, epoch)\n"
    )
    for round_ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout
            named = child.stdout.readline()
            time.sleep(0.05 + 0.03 * round_)
            os.kill(child.pid, signal.SIGKILL)
            named = [named, *child.stdout.read().splitlines(keepends=True)]
        newest = next(line.strip() for line in reversed(named) if line.endswith("\n"))
        workspace = Workspace(Settings(home=tmp_path), "s")
        workspace.prepare(2, newest, resident=False)
        states = {path.read_text() for path in workspace.work.iterdir()}
        assert states == {f"{parse_name(newest).epoch} " * 20000}
        assert len(list(workspace.work.iterdir())) == 3
        assert not list(workspace.folder.glob(".work.*"))
