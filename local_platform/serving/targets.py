"""What a `model` string of an inference request stands for, and who finds out.

The routes know no deployments: they ask a `ModelResolver` (implemented by `local_platform.deployments.addressing`),
which knows the replica states, and get a `Target` or one of the errors below.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pilotlight.errors import FailedPrecondition, Unavailable


class Caller(Protocol):
    """The part of the authenticated principal that inference looks at."""

    @property
    def account(self) -> str:
        """Account ID of the key."""
        ...


class EngineKey(NamedTuple):
    """What one engine serves: a base checkpoint, or a copy of it with one adapter merged in (live merge) [P71].

    A live-merged deployment gets weights of its own: the forward pass then has no LoRA branch at all, which is what
    "base speed" means; the price is one more copy of the base weights in memory.
    """

    base_directory: Path
    merged_adapter: Path | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A `model` string, resolved. `adapter` and `adapter_directory` are both set or both None; never with a merge."""

    model: str
    """Echoed in the response."""
    deployment: str
    """Full name of the deployment that answers."""
    engine: EngineKey
    adapter: str | None = None
    """Name under which a multi-LoRA add-on is loaded into the engine."""
    adapter_directory: Path | None = None
    context_length: int | None = None
    """Of the model resource; None means the checkpoint's own."""
    chat_template: str | None = None
    """Jinja text that replaces the checkpoint's template."""


class ServedModel(NamedTuple):
    """One entry of GET /inference/v1/models."""

    id: str
    """What to write into `model`."""
    created: int
    """Unix seconds."""
    owned_by: str
    context_length: int | None
    kind: str
    """HF_BASE_MODEL or HF_PEFT_ADDON."""


class ModelResolver(Protocol):
    """The deployment behind a name [P74]: `accounts/a/deployments/d`, `accounts/a/models/m`, `<model>#<deployment>`.

    Both methods are called from worker threads, may block on the database, and count as traffic where they resolve.
    """

    def resolve_model(self, caller: Caller, model: str) -> Target:
        """The target whose engine is loaded. Raises NotFound, PermissionDenied, DeploymentScalingUp, AdapterFailed."""
        ...

    def list_models(self, caller: Caller) -> list[ServedModel]:
        """What is deployed for the caller."""
        ...


class DeploymentScalingUp(Unavailable):
    """No replica runs: scale-up has started, the request is not queued [P76]."""

    inference_code = "DEPLOYMENT_SCALING_UP"

    def __init__(self, deployment: str, **extra: Any) -> None:
        super().__init__(
            f"The deployment {deployment} is scaled to zero and now scales up.",
            hint="The request was not queued: retry with back-off, starting at 5 seconds.",
            **extra,
        )


class AdapterFailed(FailedPrecondition):
    """A LoRA that failed to load answers 412 [P91]."""

    http_code = 412
    inference_code = "ADAPTER_LOAD_FAILED"
