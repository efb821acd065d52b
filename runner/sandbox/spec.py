"""What a launch is asked for, and the limits it runs under.

Plain dataclasses: the stage of every launch reads this, and importing pydantic would take longer than the sandbox.
"""

import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

GATEWAY_DIRECTORY = "/run/gateway"
SOCKET_PATH = f"{GATEWAY_DIRECTORY}/gateway.sock"
WORKSPACE_PATH = "/work"

Profile = Literal["runner", "evaluator"]
"""`runner`: one writable folder and one Unix socket. `evaluator`: neither, no /proc, and no socket of any family."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Resource limits of one sandbox: per process where the kernel offers no more, else of all its processes."""

    address_space_bytes: int = 8 << 30
    """Per process."""
    memory_bytes: int = 4 << 30
    """Of all processes and tmpfs together; checked every second from outside, so it can be exceeded for that long."""
    cpu_seconds: int = 3600
    """Per process."""
    open_files: int = 512
    """Per process."""
    processes: int = 128
    """Threads count too. Of the whole sandbox from Linux 5.14 on; before, of its user ID, and only when it has one."""
    file_bytes: int = 8 << 30
    """Per file."""
    tmpfs_bytes: int = 256 << 20
    """Per tmpfs: /tmp, /dev/shm, and /work of an evaluator."""


@dataclass(frozen=True, kw_only=True)
class EvaluatorLimits(Limits):
    """What bounds an evaluator besides."""

    address_space_bytes: int = 4 << 30
    memory_bytes: int = 1 << 30
    cpu_seconds: int = 120
    processes: int = 32
    file_bytes: int = 64 << 20
    tmpfs_bytes: int = 64 << 20
    wall_seconds: float = 60.0
    result_bytes: int = 1 << 20
    log_bytes: int = 64 << 10
    """Kept of what it prints; the rest is read and dropped."""


@dataclass(frozen=True, kw_only=True)
class LaunchSpec:
    """One sandboxed process: its profile, the module to run, and for a runner its two folders.

    Raises ValueError unless a runner has both folders, and an evaluator none.
    """

    session: str
    profile: Profile = "runner"
    workspace: Path | None = None
    socket_directory: Path | None = None
    module: str = "runner.main"
    arguments: list[str] = field(default_factory=list[str])
    uid: int | None = None
    """The user ID to drop to when started as root, which is refused without one."""
    limits: Limits = field(default_factory=Limits)
    packages: Path | None = None
    """For an evaluator: a folder of installed packages, read-only, that it has instead of ours."""

    def __post_init__(self) -> None:
        wanted = self.profile == "runner"
        if any((folder is not None) != wanted for folder in (self.workspace, self.socket_directory)):
            raise ValueError("a runner has a workspace and a socket directory, an evaluator has neither")
        if wanted and self.packages is not None:
            raise ValueError("only an evaluator has packages of its own")

    @property
    def folders(self) -> list[Path]:
        """The host folders that the sandbox is given to write in."""
        return [folder for folder in (self.workspace, self.socket_directory) if folder is not None]


def write_spec(spec: LaunchSpec) -> str:
    """The specification as JSON, for `read_spec` in another process."""
    return json.dumps(asdict(spec), default=str)


def read_spec(text: str) -> LaunchSpec:
    """The specification in `text`. Raises TypeError or ValueError when it is not one."""
    values: dict[str, Any] = json.loads(text)
    for name in ("workspace", "socket_directory", "packages"):
        values[name] = None if values[name] is None else Path(values[name])
    values["limits"] = Limits(**values["limits"])
    return LaunchSpec(**values)


def session_uid(session: str, base: int) -> int:
    """A stable user ID for a session, so that its workspace keeps its owner over turns and restarts.

    Two sessions may share one by chance (1 in 50,000): they then share the process limit, never a file, since neither
    folder is mounted in the other's sandbox.
    """
    return base + zlib.crc32(session.encode()) % 50_000
