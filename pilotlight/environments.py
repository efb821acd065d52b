"""Folders of installed packages, one for each list of requirements, for code that runs in a sandbox without a network.

Only wheels are installed (but for BUILT_HERE): a source distribution would run its own code here, where there is a
network and there are files. What the packages themselves do, they do in the sandbox that they are shown to.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from pilotlight.errors import FailedPrecondition, ResourceExhausted
from pilotlight.redaction import Redactor

LOG = "install.log"
BUILT_HERE = "antlr4-python3-runtime"
"""The one package that may come as source: it has no wheel, and Eval Protocol needs it."""
_PASSED_ON = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_SHOWN = 600


class Environment(NamedTuple):
    """Installed packages: read-only by custom, shared by everybody with the same requirements."""

    packages: Path
    log: str


def build_environment(requirements: tuple[str, ...], home: Path, seconds: float) -> Environment:
    """The environment of `parse_requirements`' result below `home`; installed on its first use, then found again.

    Raises FailedPrecondition with the end of the installer's log, ResourceExhausted after `seconds`.
    """
    folder = home / _digest(requirements)
    if not folder.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".part-") as part:
            made = Path(part, "environment")
            _install(requirements, made, seconds)
            _put_in_place(made, folder)
    os.utime(folder)  # when it was used last
    return Environment(folder / "packages", (folder / LOG).read_text("utf-8", "replace"))


def sweep_environments(home: Path, unused_seconds: float = 30 * 86_400) -> list[str]:
    """Remove what nobody used for so long, and what installations that were killed have left; returns the names."""
    oldest = time.time() - unused_seconds
    old = [folder for folder in home.glob("*") if folder.lstat().st_mtime < oldest] if home.is_dir() else []
    for folder in old:
        shutil.rmtree(folder)
    return [folder.name for folder in old]


def _digest(requirements: tuple[str, ...]) -> str:
    key = "\n".join([sys.version.split()[0], sys.platform, *requirements])
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _install(requirements: tuple[str, ...], made: Path, seconds: float) -> None:
    if importlib.util.find_spec("pip") is None:
        raise FailedPrecondition("pip is not installed beside Pilotlight.", hint="Run `python -m ensurepip`.")
    for folder in (made, made / "packages"):
        folder.mkdir()
        folder.chmod(0o755)  # the user ID of a sandbox reads them, whatever our umask is
    command = [sys.executable, "-I", "-m", "pip", "install", "--target", str(made / "packages"), "--no-input"]
    command += ["--only-binary", ":all:", "--no-binary", BUILT_HERE, "--disable-pip-version-check", *requirements]
    options: dict[str, Any] = {"env": _environment(), "umask": 0o022, "stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False, **options)
    except subprocess.TimeoutExpired as error:
        raise ResourceExhausted(
            f"The evaluator's packages were not installed within {seconds:g} seconds.",
            hint="Require less, or raise PILOTLIGHT_EVALUATOR_INSTALL_SECONDS.",
        ) from error
    log = Redactor()((done.stdout + done.stderr).decode("utf-8", "replace"))
    if done.returncode != 0:
        raise FailedPrecondition(
            f"The evaluator's packages cannot be installed: {_reason(log)}",
            hint="Only wheels are installed. Check names and versions, and that this machine reaches a package index.",
            details=[{"log": log[-20_000:]}],
        )
    (made / LOG).write_text(log, "utf-8")


def _environment() -> dict[str, str]:
    names = [name for name in os.environ if name in _PASSED_ON or name.startswith("PIP_")]
    return {name: os.environ[name] for name in names}


def _reason(log: str) -> str:
    errors = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR:")]
    return " ".join(errors)[-_SHOWN:] or log.strip()[-_SHOWN:]


def _put_in_place(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(made)  # somebody else was faster with the same
