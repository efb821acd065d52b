"""What a launch is asked for, and the limits it runs under."""

import zlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

GATEWAY_DIRECTORY = "/run/gateway"
SOCKET_PATH = f"{GATEWAY_DIRECTORY}/gateway.sock"
WORKSPACE_PATH = "/work"


class Limits(BaseModel):
    """Resource limits of one sandbox. Per process, except `processes` (per user ID) and the tmpfs size."""

    model_config = ConfigDict(extra="forbid")

    address_space_bytes: int = 8 << 30
    cpu_seconds: int = 3600
    open_files: int = 512
    processes: int = 128
    """Only applied when the sandbox has a user ID of its own: the kernel counts processes per user ID."""
    file_bytes: int = 8 << 30
    tmpfs_bytes: int = 256 << 20


class LaunchSpec(BaseModel):
    """One sandboxed process: the module to run, its writable folder, and the folder of its one socket."""

    model_config = ConfigDict(extra="forbid")

    session: str
    workspace: Path
    socket_directory: Path
    module: str = "runner.main"
    arguments: list[str] = Field(default_factory=list)
    uid: int | None = None
    """The user ID to drop to when started as root; derived from the session when None."""
    limits: Limits = Field(default_factory=Limits)


def session_uid(session: str, base: int) -> int:
    """A stable user ID for a session, so that its workspace keeps its owner over turns and restarts.

    Two sessions may share one by chance (1 in 50,000): they then share the process limit, never a file, since neither
    folder is mounted in the other's sandbox.
    """
    return base + zlib.crc32(session.encode()) % 50_000
