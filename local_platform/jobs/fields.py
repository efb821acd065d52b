"""The body of a fine-tuning job request: every documented field [P50-P58], and the ones one machine must refuse.

Refused fields are typed, so that their harmless values (absent, false, 0, empty) pass and anything else is told why.
"""

from typing import Any

from pydantic import Field

from local_platform.bodies import WireFloat, WireInt
from pilotlight.errors import InvalidArgument
from pilotlight.wire import Wire


class DataFields(Wire):
    """What every kind of job request has at its top level, the refused ones included."""

    dataset: str
    display_name: str = Field(default="", max_length=63)
    evaluation_dataset: str | None = None
    eval_auto_carveout: bool | None = None
    """Carve an evaluation set out of the dataset; on by default where no evaluation dataset is given [P51]."""
    early_stop: bool = False
    use_purpose: str = ""

    wandb_config: dict[str, Any] | None = None
    aws_s3_config: dict[str, Any] | None = None
    azure_blob_storage_config: dict[str, Any] | None = None
    renderer_hugging_face_repo_id: str | None = None
    reservation_target: str | None = None
    use_reservation: bool = False


class TrainingFields(Wire):
    """What is trained, and how: at the top level of supervised jobs, in `trainingConfig` of others."""

    base_model: str | None = None
    warm_start_from: str | None = None
    output_model: str | None = None
    epochs: WireFloat | None = None
    learning_rate: WireFloat | None = None
    learning_rate_warmup_steps: WireInt | None = None
    lora_rank: WireInt | None = None
    batch_size: WireInt | None = None
    """Packed tokens per optimizer micro-step [P53]."""
    batch_size_samples: WireInt | None = None
    """Of a preference job: pairs per forward pass."""
    gradient_accumulation_steps: WireInt | None = None
    max_context_length: WireInt | None = None
    optimizer_weight_decay: WireFloat | None = None
    jinja_template: str | None = None
    sampler_checkpoint_save_interval_steps: WireInt | None = None
    region: str | None = None


class JobRequest(TrainingFields, DataFields):
    """What a caller may send to `supervisedFineTuningJobs`. Zero or absent means: take the default."""

    nodes: WireInt | None = None
    is_turbo: bool = False
    mtp_enabled: bool = False
    mtp_freeze_base_model: bool = False
    mtp_num_draft_tokens: WireInt | None = None
    metrics_file_signed_url: str | None = None


_ONE_MACHINE = "this platform is one machine"
_OWN_FILES = "this platform reads only datasets uploaded to it"
_REASONS: dict[str, str] = {
    "isTurbo": f"turbo mode needs more accelerators, and {_ONE_MACHINE}",
    "awsS3Config": _OWN_FILES,
    "azureBlobStorageConfig": _OWN_FILES,
    "rendererHuggingFaceRepoId": "the base model's own chat template is used; see jinjaTemplate",
    "reservationTarget": f"there are no reservations, because {_ONE_MACHINE}",
    "useReservation": f"there are no reservations, because {_ONE_MACHINE}",
    "mtpEnabled": "multi-token prediction is not trained here",
    "mtpFreezeBaseModel": "multi-token prediction is not trained here",
    "mtpNumDraftTokens": "multi-token prediction is not trained here",
    "samplerCheckpointSaveIntervalSteps": "only the final adapter can be deployed; checkpoints serve resuming only",
    "metricsFileSignedUrl": "it is set by the server",
}


def check_supported(request: JobRequest) -> None:
    """Refuse documented fields that cannot be honoured here, each with its reason. Raises InvalidArgument."""
    sent = request.model_dump(by_alias=True)
    for field, reason in _REASONS.items():
        if sent[field]:
            raise InvalidArgument(f"Field '{field}' is not supported: {reason}.")
    if request.region not in (None, "", "REGION_UNSPECIFIED"):
        raise InvalidArgument(f"Field 'region' is not supported: {_ONE_MACHINE}.")
    if request.nodes not in (None, 0, 1):
        raise InvalidArgument(f"Field 'nodes' must be 1: {_ONE_MACHINE}.")
    if (request.wandb_config or {}).get("enabled"):
        raise InvalidArgument("Field 'wandbConfig' is not supported: metrics stay here; see metricsFileSignedUrl.")
    if request.use_purpose not in ("", "pilot"):
        raise InvalidArgument(f"Invalid usePurpose {request.use_purpose[:40]!r}: the only supported value is 'pilot'.")
