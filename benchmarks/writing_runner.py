"""The runner of `benchmarks.watchers`: writes events at a rate. Only the standard library, so that many of them fit."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

HOME = Path(os.environ["PILOTLIGHT_WORKSPACE"]).parents[2]


def main() -> None:
    """Wait until told, then write what the plan says."""
    plan = json.loads((HOME / "benchmark.json").read_text())
    while not (HOME / "go").exists():
        time.sleep(0.1)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["PILOTLIGHT_SOCKET"])
        begun = time.monotonic()
        for number in range(int(plan["rate"] * plan["seconds"])):
            time.sleep(max(0.0, begun + number / plan["rate"] - time.monotonic()))
            payload = {"step": number, "sent": time.time()}
            event = {"type": "job", "payload": payload, "key": f"step/{number}"}
            post(connection, "/turn/v1/events", {"events": [event]})
        post(connection, "/turn/v1/finish", {"status": "succeeded", "message": "done"})


def post(connection: socket.socket, path: str, body: dict[str, Any]) -> None:
    """Send JSON; ends the process when it is refused."""
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    connection.sendall(head.encode() + raw)
    answer = b""
    while not is_whole(answer):
        answer += connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(answer.decode())


def is_whole(answer: bytes) -> bool:
    """Whether the answer has as many bytes as its head says."""
    head, end, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
    return bool(end) and len(body) >= length


if __name__ == "__main__":
    main()
