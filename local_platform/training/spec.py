"""JobSpec: everything one training process needs to know, as a JSON file."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pilotlight.errors import InvalidArgument

MAX_LORA_RANK = 128
"""A bound against typing errors; the API's own limit (32, [P56]) is the platform's to enforce."""


NOT_SHAPING = {"job", "work_directory", "output_directory", "threads", "checkpoint_interval_steps"}
"""Fields that a resumed job may change: more threads change rounding, not what is computed."""
PREFERENCE_ONLY = {"method", "beta", "reference_batch_pairs"}
"""Fields that say nothing about supervised fine-tuning: checkpoints of such jobs do not depend on them."""


class JobSpec(BaseModel):
    """The settings of a fine-tuning job [P50-P59]. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: str
    """Resource name, for messages only."""
    base_model_directory: Path
    """A Hugging Face checkpoint folder: config.json, weights, tokenizer, chat template."""
    lora_alpha_ratio: float = Field(default=2.0, gt=0)
    """alpha / rank. It belongs to the base model: narrow models need far more than the usual 2."""
    dataset_path: Path
    evaluation_path: Path | None = None
    eval_auto_carveout: bool = False
    """Without an evaluation set: hold out part of the training rows, by content."""
    output_directory: Path
    work_directory: Path
    epochs: float = Field(default=1.0, gt=0, le=1000)
    """Fractions train on that share of the shuffled rows [P54]."""
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    learning_rate_warmup_steps: int = Field(default=0, ge=0)
    gradient_accumulation_steps: int = Field(default=1, ge=1, le=4096)
    batch_size: int = Field(default=32768, ge=1)
    """Tokens packed into one forward pass [P53]. A longer row gets a pass of its own."""
    batch_size_samples: int | None = Field(default=None, ge=1)
    """Rows per forward pass; replaces batch_size when set."""
    lora_rank: int = Field(default=8, ge=1, le=MAX_LORA_RANK)
    max_context_length: int = Field(default=32768, ge=2)
    """Longer rows are cut at this many tokens [P52]."""
    optimizer_weight_decay: float = Field(default=0.0, ge=0, le=1)
    early_stop: bool = False
    """Stop after a full epoch that did not improve the evaluation loss."""
    warm_start_directory: Path | None = None
    """A PEFT adapter to go on from."""
    eval_interval_steps: int | None = Field(default=None, ge=1)
    """Evaluations between those at each epoch's end."""
    checkpoint_interval_steps: int | None = Field(default=None, ge=1)
    """Steps between checkpoints; by default one about every 30 seconds."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    threads: int = Field(default=1, ge=1)
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:1`."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the frozen base; auto is bfloat16 on a GPU and float32 on a CPU. The adapter is always float32."""
    jinja_template: str | None = None
    """Replaces the base model's chat template."""
    method: Literal["SFT", "DPO", "ORPO"] = "SFT"
    """DPO and ORPO read preference pairs; a batch's rows are pairs then."""
    beta: float = Field(default=0.1, gt=0, le=1)
    """DPO: how strongly the policy is held to the reference. ORPO: the weight of the odds ratio."""
    reference_batch_pairs: int | None = Field(default=None, ge=1)
    """Pairs per forward pass of the reference; by default as many as an evaluation takes."""

    def digest(self) -> str:
        """SHA-256 over all that shapes the result; a checkpoint only fits a spec of the same digest."""
        left_out = NOT_SHAPING | (PREFERENCE_ONLY if self.method == "SFT" else {"reference_batch_pairs"})
        return hashlib.sha256(self.model_dump_json(exclude=left_out).encode()).hexdigest()


def load_spec(path: Path) -> JobSpec:
    """Read and check a spec file. Raises InvalidArgument with every wrong field named."""
    try:
        return JobSpec.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidArgument(f"The job specification {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise InvalidArgument(f"The job specification is not valid: {fields}.") from error
