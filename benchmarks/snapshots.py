"""`python -m benchmarks.snapshots [--megabytes N]`: a workspace with one small change, saved as a snapshot.

Side by side on the same files: one gzipped tar of everything, hashed (what snapshots were), and the content-addressed
store. Each way saves the workspace, then saves it again after one small file changed, then restores it.
"""

import argparse
import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agent.workspace import Workspace
from pilotlight.settings import Settings

_FILES = 20
_PAUSE_SECONDS = 2.1
"""A file that changed right before a snapshot is read again at the next: in use, most files are older than that."""


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.snapshots", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    size = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory(prefix="pilotlight-snapshots-") as folder:
        workspace = _make(Path(folder), size)
        print(f"{size} MB in {_FILES} files of JSON lines; one file of 20 bytes changes")
        print(f"{'way':<10}{'step':<14}{'seconds':>9}{'CPU s':>8}{'MB stored':>11}")
        _measure_archive(workspace, Path(folder, "archives"))
        _measure_store(workspace, Path(folder, "workspaces"))


def _make(home: Path, megabytes: int) -> Workspace:
    workspace = Workspace(Settings(home=home), "1779157376-41e1")
    workspace.make()
    line = b'{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "ok"}]}\n'
    for number in range(_FILES):
        with (workspace.work / f"data{number}.jsonl").open("wb") as file:
            while file.tell() < megabytes * 1_000_000 // _FILES:
                file.write(line % os.urandom(400).hex().encode())
    _change(workspace, 1)
    time.sleep(_PAUSE_SECONDS)
    return workspace


def _change(workspace: Workspace, number: int) -> None:
    (workspace.work / "state.json").write_text(f'{{"step": {number:08d}}}')


def _measure_archive(workspace: Workspace, target: Path) -> None:
    target.mkdir()
    _time("archive", "first", target, lambda: _archive(workspace.work, target / "1.tar.gz"))
    _change(workspace, 2)
    _time("archive", "after a change", target, lambda: _archive(workspace.work, target / "2.tar.gz"))
    _time("archive", "restore", target, lambda: _extract(target / "2.tar.gz", workspace.folder / "again"))
    shutil.rmtree(workspace.folder / "again")


def _measure_store(workspace: Workspace, target: Path) -> None:
    names: list[str] = []
    _time("store", "first", target, lambda: names.append(workspace.snapshots.save(workspace.work, 1)))
    _change(workspace, 3)
    _time(
        "store", "after a change", target, lambda: names.append(workspace.snapshots.save(workspace.work, 2, names[0]))
    )
    _time("store", "restore", target, lambda: workspace.snapshots.restore(workspace.folder / "again", names[1]))


def _time(way: str, step: str, stored: Path, act: Callable[[], object]) -> None:
    before, wall, cpu = _size(stored), time.perf_counter(), time.process_time()
    act()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{way:<10}{step:<14}{wall:>9.2f}{cpu:>8.2f}{(_size(stored) - before) / 1e6:>11.1f}", flush=True)


def _archive(source: Path, target: Path) -> None:
    with gzip.open(target, "wb", compresslevel=1) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(source, "work")
    with target.open("rb") as file:
        hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())


def _extract(source: Path, target: Path) -> None:
    with gzip.open(source, "rb") as packed, tarfile.open(fileobj=packed, mode="r") as archive:
        archive.extractall(target, filter="data")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


if __name__ == "__main__":
    main()
