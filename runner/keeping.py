"""Work whose results are paid for: each is kept in a file as it comes, and what is kept is not done again."""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import Any, NamedTuple

from pilotlight.plan import canonical_json
from runner.turn import Turn

Record = dict[str, Any]
_AT_ONCE = 8


class Task(NamedTuple):
    """One piece of work. `key` tells what is asked, so that another question never gets a kept answer."""

    key: str
    run: Callable[[], Record]


def key_of(*content: Any) -> str:
    """A key that depends on all of `content`, which is plain JSON."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:24]


def run_kept(turn: Turn, path: str, tasks: Sequence[Task], prepare: Callable[[], object] | None = None) -> list[Record]:
    """The results in the order of the tasks, from the JSON lines at `path` or new ones, which are added there.

    `prepare` is called before the first task that has to run, and not where all results are kept. That task runs alone,
    so that a sleeping replica is woken once. When one fails, its error is raised after those that ran beside it have
    ended and are kept.
    """
    kept, whole = _read(turn, path)
    left = [task for task in {task.key: task for task in tasks}.values() if task.key not in kept]
    if not whole:
        _write(turn, path, kept)
    if left and prepare is not None:
        prepare()
    for some in (left[:1], left[1:]):
        _run(turn, path, kept, some)
    results = {task.key: kept[task.key] for task in tasks}
    if list(results) != list(kept):
        _write(turn, path, results)
    return [results[task.key] for task in tasks]


def load_kept(turn: Turn, path: str) -> dict[str, Record]:
    """What is kept at `path`, by key."""
    return _read(turn, path)[0]


def _run(turn: Turn, path: str, kept: dict[str, Record], tasks: Sequence[Task]) -> None:
    """Append each result when it is there; after an error nothing new is begun."""
    lock, failed = Lock(), Event()

    def one(task: Task) -> None:
        if failed.is_set():
            return
        try:
            record = task.run()
        except BaseException:
            failed.set()
            raise
        with lock:
            kept[task.key] = record
            stream.write(_line(task.key, record))
            stream.flush()

    with (turn.workspace.root / path).open("a", encoding="utf-8") as stream, ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(one, task) for task in tasks]
        wait(futures)
    for future in futures:
        future.result()


def _read(turn: Turn, path: str) -> tuple[dict[str, Record], bool]:
    """The records, and whether the file ends with a whole one: a crash can tear the last."""
    file = turn.workspace.root / path
    *lines, torn = (file.read_text(encoding="utf-8") if file.exists() else "").split("\n")
    records = [json.loads(line) for line in lines]
    return {record.pop("key"): record for record in records}, not torn


def _write(turn: Turn, path: str, records: dict[str, Record]) -> None:
    turn.workspace.write_text(path, "".join(_line(key, record) for key, record in records.items()))


def _line(key: str, record: Record) -> str:
    return json.dumps({"key": key} | record, ensure_ascii=False) + "\n"
