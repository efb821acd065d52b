"""Settings of every process, read from `PILOTLIGHT_*` environment variables."""

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One object per process, built at its entry point and passed down; nothing reads the environment elsewhere."""

    model_config = SettingsConfigDict(env_prefix="PILOTLIGHT_", extra="ignore")

    home: Path = Field(default_factory=lambda: Path.home() / ".pilotlight")
    """State: databases, blobs, workspaces, logs."""
    account: str = "local"
    """The account that `pilotlight up` creates on first start."""
    host: str = "127.0.0.1"
    port: int = 8787
    """The control process: Agent API and the front door to the platform."""
    public_url: str = ""
    """What users reach the control process by; derived from host and port when empty."""
    database_url: str = ""
    """The control process's database; SQLite under `home` when empty."""
    backend: Literal["local", "fireworks"] = "local"
    platform_url: str = "http://127.0.0.1:8788"
    platform_key: SecretStr = SecretStr("")
    """The key the gateway uses for the platform. Written by `pilotlight up` for the local platform."""
    platform_port: int = 8788
    platform_jobs: int = 2
    """Training jobs the local platform runs at a time, one thread each on a CPU."""
    platform_calibrate: bool = True
    """Measure this machine's speed when the local platform starts; otherwise when a training shape is asked for."""
    platform_minimum_to_zero_seconds: float = Field(default=300.0, gt=0)
    """Shortest scale-to-zero window a deployment may have [P75]; tests shorten it."""
    job_grace_seconds: float = Field(default=300.0, ge=0)
    """The most that a plan asks for covers being so much later than estimated, whatever the range says."""
    concurrent_turns: int = Field(default=4, ge=1)
    """Sessions at work at a time; others wait in the queue."""
    sandbox: Literal["bwrap", "none"] = "bwrap"
    """`none` is for development on macOS only, and refused with any backend but the local one."""
    sandbox_uid_base: int = 210_000
    """First of the user IDs that sandboxes drop to when the control process runs as root."""
    log_level: str = "info"

    @cached_property
    def control_url(self) -> str:
        """Base URL of the control process, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def control_database_url(self) -> str:
        """SQLAlchemy URL of the control process's database."""
        return self.database_url or f"sqlite:///{self.home / 'control.db'}"

    @property
    def platform_home(self) -> Path:
        """State of the local platform; its own process and database."""
        return self.home / "platform"
