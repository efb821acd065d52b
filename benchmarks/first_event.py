"""Time from `session create` to the first event, to the runner's first word, and to the plan; from `update` to work.

    python -m benchmarks.first_event [--sessions 5] [--rows 500]

The whole system, as `pilotlight up` starts it: control process, local platform, and for each session a real runner in
the sandbox that downloads and inspects the data and prices a plan. Sessions run one after the other; times are seen by
a client on the event stream, in seconds. Nothing is trained.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from cli.up import Instance, free_port

MARKS = ("first event", "first word of the runner", "plan", "work after an update")
_NOT_WORK = ("status", "answer")
"""Events that the control process writes by itself."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=5)
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pl-")))
        instance = stack.enter_context(Instance(folder, free_port(), free_port()))
        headers = {"authorization": f"Bearer {instance.key_path.read_text().strip()}"}
        client = stack.enter_context(httpx.Client(base_url=instance.url, headers=headers, timeout=60))
        upload(client, options.rows)
        runs = [measure(client) for _ in range(options.sessions)]
    for mark in MARKS:
        times = [run[mark] for run in runs]
        print(f"{mark:>26}: median {statistics.median(times):.3f} s, min {min(times):.3f}, max {max(times):.3f}")


def upload(client: httpx.Client, rows: int) -> None:
    """A chat data set of `rows` different rows."""
    datasets = "/v1/accounts/local/datasets"
    client.post(datasets, json={"datasetId": "bench", "dataset": {"userUploaded": {}}}).raise_for_status()
    content = "".join(json.dumps(_row(number)) + "\n" for number in range(rows)).encode()
    files = {"file": ("bench.jsonl", content, "application/jsonl")}
    client.post(f"{datasets}/bench:upload", files=files).raise_for_status()


def measure(client: httpx.Client) -> dict[str, float]:
    """Seconds from sending the create to each mark."""
    instruction = "Run SFT on ember-500k using accounts/local/datasets/bench"
    started = time.perf_counter()
    created = client.post("/v1/accounts/local/sessions", json={"instruction": instruction}).raise_for_status().json()
    seen: dict[str, float] = {}
    last = 0
    for event in follow(client, created["name"]):
        last = int(event["seq"])
        for mark in marks_of(event):
            seen.setdefault(mark, time.perf_counter() - started)
    seen |= measure_update(client, created["name"], last)
    client.post(f"/v1/{created['name']}:cancel", json={}).raise_for_status()
    if len(seen) < len(MARKS):
        raise SystemExit(f"The session of this benchmark made no plan: {client.get('/v1/' + created['name']).text}")
    return seen


def measure_update(client: httpx.Client, name: str, last: int) -> dict[str, float]:
    """Seconds from a change of the plan to the first event of the runner that works on it."""
    started = time.perf_counter()
    client.post(f"/v1/{name}:update", json={"instruction": "Use LoRA rank 8."}).raise_for_status()
    for event in follow(client, name, last):
        if event["type"] not in _NOT_WORK:
            return {MARKS[3]: time.perf_counter() - started}
    return {}


def marks_of(event: dict[str, Any]) -> list[str]:
    """The marks that this event reaches."""
    marks = [MARKS[0]]
    if event["type"] == "phase":
        marks.append(MARKS[1])
    if event["type"] == "question" and event["payload"]["kind"] == "plan_approval":
        marks.append(MARKS[2])
    return marks


def follow(client: httpx.Client, name: str, after: int = 0) -> Iterator[dict[str, Any]]:
    """Events after number `after` until the session waits or ends."""
    with client.stream("GET", f"/v1/{name}/events:stream", params={"afterSeq": after}, timeout=120) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and "seq" in (event := json.loads(line[6:])):
                yield event


def _row(number: int) -> dict[str, Any]:
    question, answer = f"What is {number} plus {number + 7}?", f"It is {2 * number + 7}."
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


if __name__ == "__main__":
    main()
