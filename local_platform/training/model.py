"""The base model on its device, and the LoRA adapter on it."""

import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from local_platform.training import attention
from local_platform.training.spec import JobSpec
from pilotlight.errors import FailedPrecondition, InvalidArgument

ADAPTER = "default"


@dataclass(frozen=True)
class Device:
    """Where and in which precision the frozen base computes."""

    device: torch.device
    dtype: torch.dtype

    @property
    def gpu(self) -> bool:
        """Whether this is a CUDA device. GPU runs are written for, and not tested on, such a machine."""
        return self.device.type == "cuda"


def choose_device(spec: JobSpec) -> Device:
    """`auto` is the GPU where there is one; bfloat16 there, float32 on a CPU."""
    wanted = spec.device if spec.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise FailedPrecondition(f"The job asks for {wanted}, and this machine has no usable CUDA device.")
    device = torch.device(wanted)
    auto = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return Device(device, getattr(torch, auto if spec.dtype == "auto" else spec.dtype))


def prepare_process(spec: JobSpec, device: Device) -> None:
    """Threads, determinism and seeds. The same spec on the same machine gives the same bits."""
    torch.set_num_threads(spec.threads)
    torch.manual_seed(spec.seed)
    if device.gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=device.gpu)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


def load_base(spec: JobSpec, device: Device) -> PreTrainedModel:
    """The frozen base with packed attention. Raises FailedPrecondition if the folder holds no usable checkpoint."""
    directory = spec.base_model_directory
    if not (directory / "config.json").is_file():
        raise FailedPrecondition(f"{directory} is not a model checkpoint: it has no config.json.")
    context = _context_length(json.loads((directory / "config.json").read_text()))
    if context is not None and spec.max_context_length > context:
        raise InvalidArgument(
            f"maxContextLength {spec.max_context_length} is more than the base model's context of {context} tokens."
        )
    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=device.dtype, attn_implementation=attention.NAME, local_files_only=True
    )
    model.config.use_cache = False
    model.requires_grad_(False)
    if device.gpu:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    torch.nn.Module.to(model, device.device)
    return model


def vocabulary_size(base: PreTrainedModel) -> int:
    """Rows of the embedding table: token ids must lie below."""
    embeddings = base.get_input_embeddings()
    assert isinstance(embeddings, torch.nn.Embedding)
    return embeddings.num_embeddings


def _context_length(config: dict[str, Any]) -> int | None:
    inner = config.get("text_config", config)
    return inner.get("max_position_embeddings")


def add_adapter(base: PreTrainedModel, spec: JobSpec) -> PeftModel:
    """A fresh LoRA on every linear layer but the head, or the one to start from [P50]."""
    alpha = spec.lora_alpha_ratio * spec.lora_rank
    config = LoraConfig(
        r=spec.lora_rank,
        lora_alpha=int(alpha) if alpha == int(alpha) else alpha,  # pyright: ignore[reportArgumentType] any factor works
        lora_dropout=0.0,
        target_modules="all-linear",
        bias="none",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT uses a name that transformers renames
        model = get_peft_model(base, config)  # pyright: ignore[reportArgumentType]
    assert isinstance(model, PeftModel)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if spec.warm_start_directory is not None:
        _load_warm_start(model, spec, spec.warm_start_directory)
    return model


def _load_warm_start(model: PeftModel, spec: JobSpec, directory: Path) -> None:
    """Weights of an earlier adapter. Its rank and scale must be this job's, or it would not mean the same."""
    try:
        old = json.loads((directory / "adapter_config.json").read_text())
        weights = load_file(directory / "adapter_model.safetensors")
    except (OSError, ValueError) as error:
        raise FailedPrecondition(f"The adapter to start from cannot be read: {error}.") from error
    if old["r"] != spec.lora_rank or abs(old["lora_alpha"] / old["r"] - spec.lora_alpha_ratio) > 1e-6:
        raise InvalidArgument(
            f"The adapter to start from has rank {old['r']} and scale {old['lora_alpha'] / old['r']:g}; "
            f"this job asks for rank {spec.lora_rank} and scale {spec.lora_alpha_ratio:g}."
        )
    try:
        load_adapter_state(model, weights)
    except (RuntimeError, KeyError) as error:
        raise FailedPrecondition(f"The adapter to start from does not fit the base model: {error}") from error


def trainable(model: PeftModel) -> list[torch.nn.Parameter]:
    """The adapter's parameters, in a fixed order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def adapter_state(model: PeftModel) -> dict[str, torch.Tensor]:
    """A copy of the adapter's weights on the CPU, under PEFT's names."""
    state = get_peft_model_state_dict(model)
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def load_adapter_state(model: PeftModel, state: dict[str, torch.Tensor]) -> None:
    """The inverse of adapter_state. Raises KeyError when the names are not exactly the adapter's."""
    names = set(get_peft_model_state_dict(model))
    if names != set(state):
        raise KeyError(f"{len(names ^ set(state))} weights differ in name, such as {min(names ^ set(state))}")
    set_peft_model_state_dict(model, state)


def save_adapter(model: PeftModel, state: dict[str, torch.Tensor], base: Path, directory: Path) -> None:
    """Publish an adapter as a PEFT folder. An older one of the same name is replaced."""
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    config = model.peft_config[ADAPTER]
    config.base_model_name_or_path = base.name
    config.inference_mode = True
    config.save_pretrained(str(temporary))
    save_file(state, temporary / "adapter_model.safetensors", metadata={"format": "pt"})
    if directory.exists():
        shutil.rmtree(directory)
    temporary.replace(directory)
