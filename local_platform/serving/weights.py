"""The model itself: base weights, adapters, one forward pass for a mixed batch. Used by one thread only.

Adapters are PEFT's. A batch of one kind runs on PEFT's single-adapter path (or with adapters off); only a really
mixed one pays for `adapter_names` per row. Measured: 2,450 and 1,690 new tokens per CPU second at 32 rows on
ember-1m.
"""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, Cache

from local_platform.serving.targets import AdapterFailed
from pilotlight.errors import NotFound, Unimplemented

BASE = "__base__"
"""PEFT's name for a row without an adapter."""

_LOADING = threading.Lock()
"""Loading a checkpoint or an adapter changes process-wide state of torch (default dtype, patched initialisers): two at
a time gave models with parameters on the meta device."""


class Weights:
    """A base checkpoint with hot-loaded adapters, or with one adapter merged in for good."""

    def __init__(self, base_directory: Path, device: str = "auto", merged_adapter: Path | None = None) -> None:
        self.device = torch.device(
            "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
        )
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        with _LOADING:
            model = _load_base(base_directory, dtype, merged_adapter)
        self._base: Any = model.to(self.device).eval()
        self._peft: Any = None
        self._keys: dict[str, str] = {}
        self._mode: str | None = BASE
        self._serial = 0

    @property
    def vocabulary_size(self) -> int:
        """Number of logits."""
        return int(self._base.get_output_embeddings().weight.shape[0])

    @property
    def context_length(self) -> int:
        """Positions the checkpoint was made for."""
        return int(self._base.config.max_position_embeddings)

    def end_tokens(self, tokenizer_eos: int | None) -> frozenset[int]:
        """Every token that ends a sequence: the generation config's and the tokenizer's."""
        configured = self._base.generation_config.eos_token_id
        found = configured if isinstance(configured, list) else [configured]
        return frozenset(token for token in [*found, tokenizer_eos] if token is not None)

    def load(self, name: str, directory: Path) -> None:
        """Attach an adapter under `name`. Raises AdapterFailed."""
        check_adapter(directory)
        self._serial += 1
        key = f"a{self._serial}"  # PEFT's names may not contain dots
        with _LOADING:
            if self._peft is None:
                self._peft = _attach(self._base, key, directory)
            else:
                _attach_more(self._peft, key, directory)
        self._peft.eval()
        self._keys[name] = key
        self._mode = None

    def unload(self, name: str) -> None:
        """Drop an adapter. Raises NotFound."""
        key = self._keys.pop(name, None)
        if key is None:
            raise NotFound(f"No adapter {name} is loaded.")
        if self._keys:
            self._peft.delete_adapter(key)
        else:
            self._base, self._peft = self._peft.unload(), None
        self._mode = None if self._keys else BASE

    @torch.inference_mode()
    def forward(
        self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache, adapters: Sequence[str | None], keep: int
    ) -> Tensor:
        """Logits float32 [rows, keep, vocabulary] of the last `keep` columns (0: all); extends `cache` in place.

        ids, positions int64 [rows, new]; mask int64 [rows, cached + new], 0 for padding on the left.
        """
        extra: dict[str, Any] = {}
        names = [self._keys[name] if name else BASE for name in adapters]
        if len(set(names)) > 1:
            self._switch("mixed")
            extra["adapter_names"] = names
        else:
            self._switch(names[0])
        model = self._base if self._peft is None else self._peft
        output = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
            **extra,
        )
        return output.logits.float()

    def _switch(self, mode: str) -> None:
        if mode == self._mode:
            return
        if self._peft is not None:
            tuner = self._peft.base_model
            if mode == BASE:
                tuner.disable_adapter_layers()
            else:
                tuner.enable_adapter_layers()
            if mode not in (BASE, "mixed"):
                tuner.set_adapter(mode)
        self._mode = mode


def check_adapter(directory: Path) -> None:
    """Refuse what cannot share a batch, before any weight is touched. Raises AdapterFailed."""
    try:
        config = json.loads((directory / "adapter_config.json").read_text())
    except (OSError, ValueError) as error:
        raise AdapterFailed(
            f"The adapter folder {directory.name} has no readable adapter_config.json: {error}"
        ) from error
    if config.get("peft_type") != "LORA":
        raise AdapterFailed(f"Only LoRA adapters can be served, this one is {config.get('peft_type')!r}.")
    for feature in ("use_dora", "modules_to_save", "trainable_token_indices"):
        if config.get(feature):
            raise AdapterFailed(f"Adapters with {feature} cannot be served together with others.")


def _load_base(base_directory: Path, dtype: torch.dtype, merged_adapter: Path | None) -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(base_directory, dtype=dtype, local_files_only=True)
    _refuse_recurrent(model.config)
    if merged_adapter is not None:
        check_adapter(merged_adapter)
        model = _attach(model, "merged", merged_adapter).merge_and_unload()
    return model


def _attach(base: Any, key: str, directory: Path) -> Any:
    try:
        config = PeftConfig.from_pretrained(str(directory))
        config.inference_mode = True
        model: Any = PeftModel(base, config, adapter_name=key)
        model.load_adapter(str(directory), adapter_name=key, is_trainable=False)
    except _LOAD_ERRORS as error:
        _detach(base)
        raise AdapterFailed(f"The adapter does not fit its base model: {_first_line(error)}") from error
    return model


def _detach(base: Any) -> None:
    """Put the plain layers back, however far the injection came."""
    for name, module in list(base.named_modules()):
        if isinstance(module, BaseTunerLayer):
            base.set_submodule(name, module.get_base_layer())
    if hasattr(base, "peft_config"):
        del base.peft_config


def _attach_more(model: Any, key: str, directory: Path) -> None:
    try:
        model.load_adapter(str(directory), adapter_name=key, is_trainable=False)
    except _LOAD_ERRORS as error:
        if key in model.peft_config:
            model.delete_adapter(key)
        raise AdapterFailed(f"The adapter does not fit its base model: {_first_line(error)}") from error


_LOAD_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _refuse_recurrent(config: Any) -> None:
    kinds = set(getattr(config, "layer_types", None) or ())
    if odd := kinds - {"full_attention", "sliding_attention"}:
        raise Unimplemented(
            f"Models with layers of type {', '.join(sorted(odd))} are not served by the built-in engine."
        )
