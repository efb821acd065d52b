"""What a restart of the platform does to jobs and deployments, after a clean stop and after a crash."""

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.platform import (
    PlatformProcess,
    PlatformServer,
    import_base,
    is_running,
    raw_job,
    upload_chats,
    wait_for_job,
    wait_until,
)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[PlatformProcess]:
    platform = PlatformProcess(tmp_path)
    yield platform
    platform.stop()


def start_long_job(server: PlatformServer, checkpoint: Path) -> None:
    base, dataset = import_base(server, checkpoint, "tiny-base"), upload_chats(server, "chats", 24)
    with server.client() as sdk:
        body = {"dataset": dataset, "baseModel": base, "epochs": 200}
        with server.http() as http:
            url = "/v1/accounts/acme/supervisedFineTuningJobs?supervisedFineTuningJobId=long"
            http.post(url, json=body).raise_for_status()
        wait_for_job(sdk, "long", "RUNNING")
    wait_until(lambda: raw_job(server, "long")["localProgress"].get("step", 0) > 3)


def trainer_of(server: PlatformServer) -> tuple[int | None, int]:
    """(process ID, launches) of the one job."""
    with sqlite3.connect(server.home / "platform" / "platform.db") as db:
        return db.execute("SELECT pid, launches FROM platform_job_run").fetchone()


def test_jobs_survive_a_crash_and_a_stop(process: PlatformProcess, tiny_checkpoint: Path) -> None:
    server = process.start()
    start_long_job(server, tiny_checkpoint)
    pid, _ = trainer_of(server)
    assert pid
    process.kill()
    os.kill(pid, 0)

    server = process.start()
    assert f"adopted trainer {pid}" in process.log()
    assert trainer_of(server) == (pid, 1)
    assert raw_job(server, "long")["state"] == "JOB_STATE_RUNNING"

    process.stop()
    wait_until(lambda: not is_running(pid), 10)
    report = server.home / "platform" / "jobs" / "acme" / "long" / "progress.json"
    reached = json.loads(report.read_text())["step"]
    assert reached > 3

    server = process.start()
    with server.client() as sdk:
        wait_for_job(sdk, "long", "RUNNING")
        wait_until(lambda: raw_job(server, "long")["localProgress"].get("step", 0) > 0)
        assert raw_job(server, "long")["localProgress"]["step"] >= reached
        wait_for_job(sdk, "long", "COMPLETED")
        assert sdk.models.get("long").state == "READY"
    done = raw_job(server, "long")
    assert done["localProgress"]["step"] == done["localProgress"]["totalSteps"]
    assert trainer_of(server) == (None, 2)
