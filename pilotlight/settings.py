"""Settings of every process, read from `PILOTLIGHT_*` environment variables."""

from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One object per process, built at its entry point and passed down; nothing reads the environment elsewhere."""

    model_config = SettingsConfigDict(env_prefix="PILOTLIGHT_", extra="ignore", populate_by_name=True)

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
    workspace_store: str = ""
    """Where the snapshots of workspaces are: a folder, `workspaces` under `home` when empty, or any fsspec URL."""
    no_progress_seconds: float = Field(default=1800.0, gt=0)
    """A training job without a new step for so long is stopped; ten times its slowest step, where that is longer."""
    concurrent_turns: int = Field(default=4, ge=0)
    """Sessions at work at a time in this process; others wait in the queue. 0: it leaves all of them to workers."""
    account_turns: int = Field(default=0, ge=0)
    """Sessions of one account at work at a time, on all workers together; 0: no limit."""
    lease_seconds: float = Field(default=20.0, gt=0)
    """A worker that gives no sign of life for so long has lost its sessions to others."""
    beat_seconds: float = Field(default=5.0, gt=0)
    """How often a worker gives a sign of life."""
    snapshots_kept: int = Field(default=3, ge=1)
    """Newest snapshots of each session's workspace that are kept."""
    snapshot_bytes: int = Field(default=2 << 30, ge=0)
    """Most content of one snapshot; a larger workspace has none, and its session says so."""
    sandbox: Literal["bwrap", "none"] = "bwrap"
    """`none` is for development on macOS only, and refused with any backend but the local one."""
    runner_start: Literal["fork", "exec"] = "fork"
    """Fork sandboxed runners from a process that has imported everything, or start each as a program of its own."""
    sandbox_uid_base: int = 210_000
    """First of the user IDs that sandboxes drop to when the control process runs as root."""
    head_seconds: float = Field(default=10.0, gt=0)
    """Within this a request's head must be complete."""
    stall_seconds: float = Field(default=60.0, gt=0)
    """A request's body must go on arriving within this; an answer may wait five times as long for its reader."""
    connections: int = Field(default=2048, ge=1)
    """Connections to the control process; above it the one that it has waited for longest is closed."""
    turn_connections: int = Field(default=64, ge=1)
    """The same for the socket of one turn: a runner cannot use up what the others need."""
    sandbox_address_space_bytes: int = Field(default=8 << 30, ge=1 << 30)
    """Per process."""
    sandbox_memory_bytes: int = Field(default=4 << 30, ge=256 << 20)
    """Of all processes of a sandbox and its temporary files together."""
    sandbox_cpu_seconds: int = Field(default=3600, ge=1)
    """Per process."""
    sandbox_open_files: int = Field(default=512, ge=64)
    """Per process."""
    sandbox_processes: int = Field(default=128, ge=4)
    """Of a sandbox, threads included."""
    sandbox_file_bytes: int = Field(default=8 << 30, ge=1 << 20)
    """Per file."""
    sandbox_tmpfs_bytes: int = Field(default=256 << 20, ge=1 << 20)
    """Of each folder for temporary files."""
    sandbox_evaluator_seconds: float = Field(default=60.0, gt=0)
    """Wall time of one evaluator call."""
    sandbox_evaluator_memory_bytes: int = Field(default=1 << 30, ge=64 << 20)
    """Of all processes of an evaluator and its temporary files together."""
    sandbox_evaluator_result_bytes: int = Field(default=1 << 20, ge=1)
    """What an evaluator may return."""
    evaluator_install_seconds: float = Field(default=600.0, gt=0)
    """Within this the packages that an evaluator requires must be installed."""
    evaluator_import_seconds: float = Field(default=240.0, ge=0)
    """What an evaluator with packages of its own gets beside the time of its call: importing them can take long."""
    approvals_distinct_principal: bool = False
    """Whoever approves must be another user than the one who created the session, and no program with a preset."""
    anthropic_key: SecretStr = Field(
        default=SecretStr(""), validation_alias=AliasChoices("PILOTLIGHT_ANTHROPIC_KEY", "ANTHROPIC_API_KEY")
    )
    """The key of the planner's own model; only the gateway holds it. Empty: the planner works without a model."""
    anthropic_url: str = "https://api.anthropic.com"
    """Base URL of the planner's model, or of any other server of the Anthropic Messages API."""
    planner_model: str = "claude-sonnet-5-5"
    """Models that the planner may call, separated by commas."""
    planner_max_tokens: int = Field(default=8192, ge=1)
    """Most tokens that one call of the planner may ask for, without another limit approved in a plan."""
    planner_allowance_usd: Decimal = Field(default=Decimal("0.25"), ge=0, le=1000)
    """What the planner's model may cost in a session before its first plan is approved; 0: no call at all."""
    planner_prices: Path | None = None
    """A price book for the planner's models instead of `pilotlight/prices/planner.yaml`."""
    webhook_url: SecretStr = SecretStr("")
    """Where notifications are posted; often a secret itself. Empty: nowhere."""
    webhook_secret: SecretStr = SecretStr("")
    """`whsec_` and base64: signs them. Several, separated by spaces, while one replaces another."""
    notify_command: str = ""
    """A command run for each notification, without a shell, in the control process; the JSON is on its input."""
    log_level: str = "info"

    @model_validator(mode="after")
    def _check_beat(self) -> Self:
        if self.beat_seconds > self.lease_seconds / 3:
            raise ValueError("beat_seconds is at most a third of lease_seconds: one late beat must not lose a session")
        return self

    @cached_property
    def control_url(self) -> str:
        """Base URL of the control process, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def planner_models(self) -> tuple[str, ...]:
        """The models that the planner may call; none without a key."""
        named = tuple(name.strip() for name in self.planner_model.split(",") if name.strip())
        return named if self.anthropic_key.get_secret_value() else ()

    @property
    def control_database_url(self) -> str:
        """SQLAlchemy URL of the control process's database."""
        return self.database_url or f"sqlite:///{self.home / 'control.db'}"

    @property
    def environments(self) -> Path:
        """Packages that evaluators require, installed once for all who run them on this machine."""
        return self.home / "environments"

    @property
    def platform_home(self) -> Path:
        """State of the local platform; its own process and database."""
        return self.home / "platform"
