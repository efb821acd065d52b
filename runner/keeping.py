"""Work whose results are paid for: each is kept in a file as it comes, and what is kept is not done again."""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any, NamedTuple

from pilotlight.plan import canonical_json
from runner.turn import Turn

Record = dict[str, Any]
_AT_ONCE, _KEPT_EACH = 8, 32


class Task(NamedTuple):
    """One piece of work. `key` tells what is asked, so that another question never gets a kept answer."""

    key: str
    run: Callable[[], Record]


def key_of(*content: Any) -> str:
    """A key that depends on all of `content`, which is plain JSON."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:24]


def run_kept(
    turn: Turn, path: str, tasks: Sequence[Task], prepare: Callable[[], object] | None = None
) -> list[Record]:
    """The results in the order of the tasks, from the JSON lines at `path` or new ones, which are added there.

    `prepare` is called before the first task that has to run, and not where all results are kept. That task runs alone, so that a sleeping replica is woken once. When one fails, its error is raised after those
    that ran beside it have ended and are kept.
    """
    kept = load_kept(turn, path)
    left = {task.key: task for task in tasks if task.key not in kept}
    if left and prepare is not None:
        prepare()
    missing = iter(left.values())
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        size = 1
        while batch := list(islice(missing, size)):
            futures = {task.key: pool.submit(task.run) for task in batch}
            _keep(turn, path, kept, futures)
            size = _KEPT_EACH
    results = {task.key: kept[task.key] for task in tasks}
    if list(results) != list(kept):
        _write(turn, path, results)
    return [results[task.key] for task in tasks]


def load_kept(turn: Turn, path: str) -> dict[str, Record]:
    """What is kept at `path`, by key."""
    file = turn.workspace.root / path
    lines = file.read_text(encoding="utf-8").split("\n") if file.exists() else []
    records = [json.loads(line) for line in lines if line]
    return {record.pop("key"): record for record in records}


def _keep(turn: Turn, path: str, kept: dict[str, Record], futures: dict[str, Future[Record]]) -> None:
    wait(futures.values())
    kept |= {key: future.result() for key, future in futures.items() if future.exception() is None}
    _write(turn, path, kept)
    for future in futures.values():
        future.result()


def _write(turn: Turn, path: str, records: dict[str, Record]) -> None:
    lines = [json.dumps({"key": key} | record, ensure_ascii=False) + "\n" for key, record in records.items()]
    turn.workspace.write_text(path, "".join(lines))
