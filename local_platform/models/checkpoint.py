"""What a Hugging Face checkpoint folder holds, told from its files; nothing of it is executed.

Only safetensors weights are accepted, and no model that needs its own code [research: no trust_remote_code].
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from pilotlight.errors import InvalidArgument

FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt")
"""What is taken over from a checkpoint: weights, configuration, tokenizer, chat template."""
_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


class Checkpoint(NamedTuple):
    """The facts a platform needs. `context_length` and `chat_template` are None where the checkpoint does not say."""

    model_type: str
    hidden_size: int
    context_length: int | None
    parameter_count: int
    chat_template: str | None
    dtype: str


def read_checkpoint(directory: Path) -> Checkpoint:
    """Read configuration and weight headers. Raises InvalidArgument saying what is missing or refused."""
    try:
        known = directory.is_dir()
    except OSError as error:
        raise InvalidArgument(f"The folder cannot be opened ({error.strerror}).") from error
    if not known:
        raise InvalidArgument(f"{directory} is not a folder.", hint="Give the folder of a checkpoint, or a hub name.")
    config = _read_json(directory / "config.json")
    if config.get("auto_map"):
        raise InvalidArgument(
            "This checkpoint needs code of its own (auto_map), which is never run here.",
            hint="Use a model whose architecture transformers knows.",
        )
    text_config = config.get("text_config") or config
    context = next((text_config[field] for field in _CONTEXT_FIELDS if text_config.get(field)), None)
    hidden = text_config.get("hidden_size") or text_config.get("n_embd")
    if not isinstance(hidden, int) or not isinstance(config.get("model_type"), str):
        raise InvalidArgument("config.json lacks model_type or hidden_size.", hint="Is this a language model?")
    parameters, dtype = _read_weights(directory)
    _require_tokenizer(directory)
    return Checkpoint(config["model_type"], hidden, context, parameters, _read_template(directory), dtype)


def hash_template(template: str) -> str:
    """SHA-256 in hex: two models with the same hash render conversations alike."""
    return hashlib.sha256(template.encode()).hexdigest()


def _read_weights(directory: Path) -> tuple[int, str]:
    index = directory / "model.safetensors.index.json"
    names = sorted(set(_read_json(index)["weight_map"].values())) if index.exists() else ["model.safetensors"]
    total, dtypes = 0, set[str]()
    for name in names:
        try:
            with safe_open(directory / name, framework="numpy") as tensors:
                for key in tensors.keys():  # noqa: SIM118
                    view = tensors.get_slice(key)
                    total += _size(view.get_shape())
                    dtypes.add(str(view.get_dtype()))
        except (OSError, SafetensorError) as error:
            pickled = any(directory.glob("*.bin")) or any(directory.glob("*.pt"))
            hint = "Convert the weights to safetensors; pickled ones are refused." if pickled else "Fetch it again."
            raise InvalidArgument(f"The weights {name} cannot be read ({error}).", hint=hint) from error
    return total, "/".join(sorted(dtypes))


def _require_tokenizer(directory: Path) -> None:
    if not any((directory / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise InvalidArgument("The checkpoint has no tokenizer.", hint="Put tokenizer.json beside the weights.")


def _read_template(directory: Path) -> str | None:
    file = directory / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    config = directory / "tokenizer_config.json"
    template: Any = _read_json(config).get("chat_template") if config.exists() else None
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{path.name} cannot be read ({error}).", hint="Is the checkpoint complete?") from error
    if not isinstance(value, dict):
        raise InvalidArgument(f"{path.name} is not a JSON object.")
    return value


def _size(shape: list[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total
