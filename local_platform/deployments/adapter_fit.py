"""Whether a LoRA adapter fits a base checkpoint, told from the headers of the weight files alone."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

_PREFIX = "base_model.model."


def find_misfit(adapter: Path, base: Path) -> str | None:
    """The first reason why the PEFT folder `adapter` cannot run on the checkpoint folder `base`; None if it fits.

    A missing or broken file is a reason too.
    """
    try:
        rank = int(json.loads((adapter / "adapter_config.json").read_text())["r"])
        tensors, weights = _shapes(adapter), _shapes(base)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        return f"its files cannot be read ({error})"
    if not tensors:
        return "it holds no weights"
    for key, shape in tensors.items():
        if reason := _compare(key, shape, rank, weights):
            return reason
    return None


def _compare(key: str, shape: list[int], rank: int, weights: dict[str, list[int]]) -> str | None:
    module, _, part = key.removeprefix(_PREFIX).partition(".lora_")
    if part not in ("A.weight", "B.weight"):
        return f"{key} is not a LoRA weight"
    if (base := weights.get(f"{module}.weight")) is None:
        return f"the base model has no layer {module}"
    expected = [rank, base[1]] if part == "A.weight" else [base[0], rank]
    return None if shape == expected else f"{key} has shape {shape}, and the base model needs {expected}"


def _shapes(directory: Path) -> dict[str, list[int]]:
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"no .safetensors file in {directory.name}")
    shapes: dict[str, list[int]] = {}
    for path in files:
        with safe_open(path, framework="numpy") as tensors:
            shapes |= {key: list(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
    return shapes
