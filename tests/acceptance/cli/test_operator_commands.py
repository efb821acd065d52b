import json
import signal
import subprocess
import time
from pathlib import Path

import httpx
import psutil
import pytest

from cli.up import free_port
from tests.fixtures.command import CommandLine
from tests.fixtures.receiver import SECRET, Receiver


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def test_interpret_reads_a_sentence_and_a_reply(line: CommandLine):
    text = "Run SFT on ember-1m using accounts/local/datasets/x"
    said = {"workflow": "sft", "train_dataset": "accounts/local/datasets/x", "base_models": ["ember-1m"]}
    assert json.loads(line.read("interpret", "--json", text, program="pilotlight")) == said
    assert "Workflow: sft" in line.read("interpret", text, program="pilotlight").splitlines()
    reply = line.read("interpret", "--reply", "--json", "Approved, proceed.", program="pilotlight")
    assert json.loads(reply)["decision"] == "approve"


def test_interpret_reads_one_text_per_line(line: CommandLine):
    texts = "Run SFT on ember-1m using accounts/a/datasets/x\n\nhello wörld\r\n"
    printed = line.run("interpret", "--json", "-", program="pilotlight", text=texts)
    assert printed.returncode == 0, printed.stderr
    objects = [json.loads(text) for text in printed.stdout.splitlines()]
    assert len(objects) == 3
    assert objects[0]["workflow"] == "sft"


def test_up_serves_until_it_is_stopped_and_leaves_no_process(line: CommandLine):
    home, port, second = line.home / "state", free_port(), free_port()
    flags = ("--home", str(home), "--port", str(port), "--platform-port", str(second))
    process = line.start("up", *flags, program="pilotlight", output=subprocess.PIPE)
    try:
        assert process.stdout
        printed = ""
        while "Ctrl-C" not in printed:
            text = process.stdout.readline()
            assert text, process.stderr and process.stderr.read()
            printed += text
        assert f"http://127.0.0.1:{port}" in printed
        assert str(home / "admin.key") in printed
        assert (home / "admin.key").stat().st_mode & 0o077 == 0
        for each in (port, second):
            assert httpx.get(f"http://127.0.0.1:{each}/healthz").json() == {"status": "ok"}
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        again = line.run("up", *flags, program="pilotlight")
        assert (again.returncode, "in use" in again.stderr) == (1, True), again.stderr
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().endswith("Stopped.\n")
        assert process.wait(60) == 0
        assert not psutil.wait_procs(children, timeout=5)[1]
    finally:
        process.kill()
        process.communicate()


def test_doctor_checks_what_the_sandbox_needs(line: CommandLine):
    started = time.monotonic()
    done = line.run("doctor", program="pilotlight")
    lines = done.stdout.splitlines()
    assert all(text.startswith(("ok ", "REPAIR ")) for text in lines[:-1]), done.stdout
    assert sum("sandbox: " in text for text in lines) > 5
    assert done.returncode == (1 if any(text.startswith("REPAIR") for text in lines) else 0)
    assert time.monotonic() - started < 120


def test_notify_sends_a_sample_and_says_what_is_wrong(line: CommandLine):
    nothing = line.run("notify", "--test", program="pilotlight")
    assert (nothing.returncode, "No channel is set" in nothing.stderr) == (1, True)
    with Receiver() as receiver:
        variables = {"PILOTLIGHT_WEBHOOK_URL": receiver.url, "PILOTLIGHT_WEBHOOK_SECRET": SECRET}
        printed = line.read("notify", "--test", program="pilotlight", variables=variables)
        assert printed.startswith("webhook: delivered as msg_")
        assert receiver.deliveries[0].verify()["type"] == "session.test"
        receiver.answers.append((500, {}))
        failed = line.run("notify", "--test", program="pilotlight", variables=variables)
        assert (failed.returncode, failed.stdout) == (1, "webhook: not delivered: the answer was 500\n")
        refused = line.run("notify", "--test", program="pilotlight", variables=variables | {
            "PILOTLIGHT_WEBHOOK_SECRET": "whsec_short"})  # fmt: skip
        assert (refused.returncode, "whsec_short" in refused.stderr) == (1, False)
        assert "PILOTLIGHT_WEBHOOK_SECRET is not" in refused.stderr
