"""What a tiny base model is made from. Its digest is over the recipe and the generated corpus, not over the weights."""

import hashlib
import json
from dataclasses import asdict, dataclass

from local_platform.basemodels.corpus import generate_chats

REFERENCE_HIDDEN_SIZE = 16384
"""alpha / r = REFERENCE_HIDDEN_SIZE / hidden_size: learning-rate transfer over width, measured at 96 and 128."""


@dataclass(frozen=True)
class Recipe:
    """All numbers of one build. Lengths in tokens; learning rates are peaks of a cosine with linear warm-up."""

    id: str
    display_name: str
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    steps: int = 1250
    vocabulary: int = 2048
    context_length: int = 1024
    tokens_per_step: int = 1024
    row_length: int = 128
    long_row_length: int = 512
    long_row_every: int = 8
    """Every n-th step uses long rows, so that distances beyond `row_length` are trained too."""
    chats: int = 36_000
    prompt_weight: float = 0.4
    """Weight of the loss on tokens outside the assistant's answer."""
    muon_learning_rate: float = 0.04
    adamw_learning_rate: float = 4e-3
    warmup_steps: int = 30
    clip: float = 1.0
    seed: int = 17
    default_batch_tokens: int = 576

    @property
    def lora_alpha_ratio(self) -> float:
        """alpha / r of LoRA adapters on this model."""
        return REFERENCE_HIDDEN_SIZE / self.hidden_size

    def digest(self) -> str:
        """SHA-256 over the recipe and every chat of its corpus, hex."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for chat in generate_chats(self.chats, self.seed):
            digest.update(json.dumps(chat).encode())
        return digest.hexdigest()


RECIPES: dict[str, Recipe] = {
    recipe.id: recipe
    for recipe in (
        Recipe("ember-500k", "Ember 500K", hidden_size=96, layers=3, heads=3, intermediate_size=256),
        Recipe("ember-1m", "Ember 1M", hidden_size=128, layers=4, heads=4, intermediate_size=352),
    )
}
