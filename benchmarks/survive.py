"""Kill each process of a running instance with `kill -9`, one after the other, while a session goes on, and print it.

    python -m benchmarks.survive [--rows 300]

The real thing: `pilotlight up` with sandbox, trainer and engine. A server that was killed ends `pilotlight up`; the
script starts it again on the same home, as a person or a service manager would. Exits with 1 when the session fails.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from cli.up import free_port

SESSIONS = "/v1/accounts/local/sessions"
INSTRUCTION = (
    "Run SFT on ember-500k using accounts/local/datasets/tickets. Use validation loss for evaluation. Use LoRA ranks 8 "
    "and 16 with learning rate 1e-4, train each candidate for 3 epochs, use 100 samples for HP tuning."
)
VICTIMS = {
    "runner": "",
    "trainer": "local_platform.training",
    "platform": "local_platform.serve",
    "control process": "agent.serve",
}


class Up:
    """`pilotlight up`, started again whenever it has ended."""

    def __init__(self, home: Path) -> None:
        self.port, self.platform_port = free_port(), free_port()
        self._command = [sys.executable, "-P", "-m", "cli.operator", "up"]
        self._command += ["--port", str(self.port), "--platform-port", str(self.platform_port)]
        self._environment = os.environ | {"PILOTLIGHT_HOME": str(home)}
        self.home = home
        self.process = self._start()

    def keep_running(self) -> None:
        """Start it again if it has ended, with what it left behind."""
        if self.process.poll() is not None:
            print(f"{_clock()} `pilotlight up` has ended; it is started again")
            self.stop()
            self.process = self._start()

    def stop(self) -> None:
        """End it and all that it started."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
        self.process.kill()
        self.process.wait()

    def find(self, part: str) -> int | None:
        """A process of this home whose command line names `part`."""
        for process in psutil.process_iter(["cmdline", "environ"]):
            line, variables = process.info["cmdline"] or [], process.info["environ"] or {}
            mine = variables.get("PILOTLIGHT_HOME") == str(self.home) or any(str(self.home) in word for word in line)
            if mine and any(part in word for word in line):
                return process.pid
        return None

    def find_runner(self) -> int | None:
        """A forked runner: it has the command line of the process that it was forked from, two generations above."""
        if (control := self.find(VICTIMS["control process"])) is None:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            for zygote in psutil.Process(control).children():
                for keeper in zygote.children():
                    for child in keeper.children():
                        if child.cmdline() == keeper.cmdline() == zygote.cmdline():
                            return child.pid
        return None

    def _start(self) -> "subprocess.Popen[bytes]":
        with (self.home / "up.log").open("ab") as log:
            return subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)


def main() -> int:
    """Run one session to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pl-") as folder:
        up = Up(Path(folder))
        try:
            return _drive(up, options.rows)
        finally:
            up.stop()


def _drive(up: Up, rows: int) -> int:
    _ask(up, lambda http: http.get("/healthz"))
    _upload(up, rows)
    session = _ask(up, lambda http: http.post(SESSIONS, json={"instruction": INSTRUCTION, "requestId": "demo"}))
    name, left = session["sessionId"], dict(VICTIMS)
    print(f"{_clock()} session {name}")
    while (found := _ask(up, lambda http: http.get(f"{SESSIONS}/{name}")))["status"] not in ("succeeded", "failed"):
        if found["status"] == "waiting":
            _answer(up, name, found["question"])
        for victim, part in left.items():
            if found["phase"] in ("sweep", "train") and (pid := up.find(part) if part else up.find_runner()):
                os.kill(pid, signal.SIGKILL)
                print(f"{_clock()} kill -9 {pid}: the {victim}, in phase {found['phase']}")
                del left[victim]
                break
        time.sleep(2)
    events = _ask(up, lambda http: http.get(f"{SESSIONS}/{name}/events", params={"pageSize": 500}))["events"]
    gapless = [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))
    print(f"{_clock()} {found['status']}; {len(events)} events, {'each once and in order' if gapless else 'WITH GAPS'}")
    print(f"{_clock()} survived: {', '.join(victim for victim in VICTIMS if victim not in left)}")
    return 0 if found["status"] == "succeeded" and gapless and not left else 1


def _answer(up: Up, name: str, question: dict[str, Any]) -> None:
    answer = {"questionId": question["questionId"], "decision": "approve", "planHash": question["planHash"]}
    body = {"answer": answer, "requestId": question["questionId"]}
    _ask(up, lambda http: http.post(f"{SESSIONS}/{name}:update", json=body))
    print(f"{_clock()} approved: {question['kind']}")


def _upload(up: Up, rows: int) -> None:
    path = "/v1/accounts/local/datasets"
    _ask(up, lambda http: http.post(path, json={"datasetId": "tickets", "dataset": {"userUploaded": {}}}))
    made = [
        {"messages": [{"role": "user", "content": f"Ticket {n}: where is order {n * 37}?"}, _reply(n)]}
        for n in range(rows)
    ]
    content = "".join(json.dumps(row) + "\n" for row in made).encode()
    files = {"file": ("tickets.jsonl", content, "application/jsonl")}
    _ask(up, lambda http: http.post(f"{path}/tickets:upload", files=files))


def _reply(number: int) -> dict[str, str]:
    return {"role": "assistant", "content": ("delivery", "refund", "login")[number % 3]}


def _ask(up: Up, request: Callable[[httpx.Client], httpx.Response]) -> dict[str, Any]:
    """The answer, however often the server has to be started again for it."""
    while True:
        up.keep_running()
        try:
            key = (up.home / "admin.key").read_text().strip()
            headers = {"authorization": f"Bearer {key}"}
            with httpx.Client(base_url=f"http://127.0.0.1:{up.port}", headers=headers, timeout=60) as http:
                reply = request(http)
            if reply.status_code < 500:
                return reply.raise_for_status().json()
        except (httpx.TransportError, FileNotFoundError):
            pass
        time.sleep(0.5)


def _clock() -> str:
    return time.strftime("%H:%M:%S")


if __name__ == "__main__":
    sys.exit(main())
