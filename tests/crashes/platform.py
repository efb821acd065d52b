"""The real local platform of a campaign: only its trainers and engines are stand-ins.

Triggers in its own database write down each effect that it applied, in the transaction that applied it.
"""

import os
import signal
import sqlite3
from contextlib import suppress
from pathlib import Path

import psutil

import local_platform.serve
from local_platform.context import open_platform
from local_platform.jobs.launcher import ProcessRef
from local_platform.speed.throughput import Throughput, ThroughputBook
from pilotlight.settings import Settings
from tests.crashes.births import NURSERY, ask, read_line
from tests.crashes.engine import open_engine

LOG = "applied_effects"
_KINDS = {
    "dataset": "platform_dataset",
    "job": "platform_job",
    "model": "platform_model",
    "deployment": "platform_deployment",
    "deployed": "platform_deployed_model",
}
_MOMENTS = (("create", "INSERT", "NEW"), ("state", "UPDATE OF state", "NEW"), ("delete", "DELETE", "OLD"))
_SPEED = Throughput(
    train_tokens_per_second=2e4, eval_tokens_per_second=4e4, generate_tokens_per_second=4e3, startup_seconds=1
)


class NurseryLauncher:
    """Trainers born by the nursery: they outlive the platform, as real ones do."""

    def start(self, spec: Path, threads: int) -> ProcessRef:
        """See local_platform.jobs.launcher.Launcher."""
        environment = {"PATH": os.environ["PATH"], NURSERY: os.environ[NURSERY]}
        request = {"role": "trainer", "environment": environment, "folder": str(spec.parent), "arguments": [str(spec)]}
        request["label"] = spec.parent.name
        with (spec.parent / "console.log").open("ab") as console:
            pid = int(read_line(ask(request, console.fileno(), console.fileno()))["pid"])
        return ProcessRef(pid, psutil.Process(pid).create_time())

    def find(self, spec: Path) -> ProcessRef | None:
        """See Launcher."""
        living = read_line(ask({}))["living"]
        pids = [int(pid) for role, label, pid, _ in living if (role, label) == ("trainer", spec.parent.name)]
        return ProcessRef(pids[0], psutil.Process(pids[0]).create_time()) if pids else None

    def alive(self, process: ProcessRef) -> bool:
        """See Launcher."""
        try:
            found = psutil.Process(process.pid)
            same = abs(found.create_time() - process.started) < 1.0
            return same and found.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def exit_code(self, process: ProcessRef) -> int | None:
        """The nursery knows, not this process: as for a trainer that was adopted."""
        return None

    def stop(self, process: ProcessRef) -> None:
        """See Launcher."""
        self._signal(process, signal.SIGTERM)

    def kill(self, process: ProcessRef) -> None:
        """See Launcher."""
        self._signal(process, signal.SIGKILL)

    def _signal(self, process: ProcessRef, number: signal.Signals) -> None:
        if self.alive(process):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)


def main(_arguments: list[str]) -> int:
    """Serve until killed or stopped."""
    settings = Settings()
    _note_speeds(settings)
    _watch_effects(settings)
    local_platform.serve.main(NurseryLauncher(), open_engine)
    return 0


def _watch_effects(settings: Settings) -> None:
    """Create the tables, and the log that their triggers write."""
    open_platform(settings).engine.dispose()
    with sqlite3.connect(settings.platform_home / "platform.db", timeout=60) as db:
        db.execute(
            f"CREATE TABLE IF NOT EXISTS {LOG} (id INTEGER PRIMARY KEY, time REAL, what TEXT, kind TEXT, name TEXT,"
            " state TEXT, body TEXT)"
        )
        for kind, table in _KINDS.items():
            for what, when, row in _MOMENTS:
                db.execute(
                    f"CREATE TRIGGER IF NOT EXISTS {kind}_{what} AFTER {when} ON {table} BEGIN"
                    f" INSERT INTO {LOG} (time, what, kind, name, state, body) VALUES ((julianday('now') - 2440587.5)"
                    f" * 86400.0, '{what}', '{kind}', {row}.name, {row}.state, {row}.body); END"
                )


def _note_speeds(settings: Settings) -> None:
    """Nothing has to be measured first."""
    settings.platform_home.mkdir(parents=True, exist_ok=True)
    book = ThroughputBook(settings.platform_home / "throughput.json", settings.platform_jobs, 1)
    for model in ("ember-500k", "ember-1m"):
        book.put(f"accounts/fireworks/models/{model}", _SPEED)
