"""What this host lacks, and the command that repairs it."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import click

from pilotlight.settings import Settings

_WANTED_BYTES = 5 << 30


def run_doctor() -> int:
    """Print each check; 0 when Pilotlight can run here, 1 otherwise."""
    failed = 0
    for name, problem in [*_check_host(), *_check_sandbox()]:
        failed += bool(problem)
        click.echo(f"{'ok    ' if not problem else 'REPAIR'} {name}{': ' + problem if problem else ''}")
    click.echo("Everything holds." if not failed else f"{failed} thing(s) to repair.")
    return 1 if failed else 0


def _check_host() -> Iterator[tuple[str, str]]:
    settings = Settings()
    version = sys.version.split()[0]
    yield f"Python {version}", "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer."
    for package in ("torch", "transformers", "peft", "langgraph"):
        yield f"package {package}", "" if find_spec(package) else "run `make up`, or `pip install pilotlight`."
    parent = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(parent).free
    yield f"disk at {settings.home}", "" if free > _WANTED_BYTES else f"only {free >> 20} MB free; 5 GB are wanted."
    for port in (settings.port, settings.platform_port):
        yield f"port {port}", _check_port(settings.host, port)


def _check_port(host: str, port: int) -> str:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"{error.strerror}. If that is not Pilotlight itself, choose another with PILOTLIGHT_PORT."
    return ""


def _check_sandbox() -> Iterator[tuple[str, str]]:
    command = [sys.executable, "-P", "-m", "runner.sandbox", "--check", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if not done.stdout.strip():
        yield "sandbox", done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "the check printed nothing."
        return
    for finding in json.loads(done.stdout):
        yield f"sandbox: {finding['name']}", "" if finding["ok"] else str(finding["problem"])
