"""A backup of a whole instance at work, restored under another path: sessions go on, deployed models answer."""

import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from cli.up import Instance
from tests.fixtures.system import System, free_port

INSTRUCTION = (
    "Run SFT on ember-500k using accounts/local/datasets/tickets. Use validation loss for evaluation. Use LoRA rank 8 "
    "with learning rate 1e-4, train for 1 epoch, skip the sweep."
)


@pytest.mark.slow
def test_restored_instance_goes_on_and_its_deployed_model_answers(system: System, tmp_path: Path) -> None:
    ended, waits = system.create(INSTRUCTION), system.create(INSTRUCTION)
    for session in (ended, waits):
        assert system.wait(session).endswith("[done] session status: waiting\n")
    told = system.answer(ended, "Approved, proceed.")
    assert told.endswith("[done] session status: succeeded\n"), told[-3000:]
    made = system.run("-m", "cli.operator", "backup", str(tmp_path / "backup"))
    assert made.returncode == 0, made.stderr
    instance = Instance(tmp_path / "again", free_port(), free_port())
    command = [sys.executable, "-P", "-m", "cli.operator", "restore", str(tmp_path / "backup")]
    restored = subprocess.run(command, env=instance.environment, capture_output=True, text=True, check=False)
    assert restored.returncode == 0, restored.stderr
    with instance:
        again = System(instance, tmp_path)
        told = again.answer(waits, "Approved, proceed.")
        assert told.endswith("[done] session status: succeeded\n"), told[-3000:]
        assert answer(instance, ended)


def answer(instance: Instance, session: str) -> str:
    """What the model that `session` deployed before the backup says; it may have to wake up first."""
    headers = {"authorization": f"Bearer {instance.key_path.read_text().strip()}"}
    http = httpx.Client(base_url=instance.url, headers=headers, timeout=60)
    report = http.get(f"/v1/accounts/local/sessions/{session}/artifacts/final_report.md").text
    body = {
        "model": re.findall(r'model="([^"]+)"', report)[0],
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 8,
    }
    deadline = time.monotonic() + 120
    while (reply := http.post("/inference/v1/chat/completions", json=body)).status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["message"]["content"]
