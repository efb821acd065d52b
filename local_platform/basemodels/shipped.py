"""The base models that come with the product, as package data. Importing this does not import torch."""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from local_platform.basemodels.recipe import RECIPES, Recipe

RECIPE_FILE = "recipe.json"


@dataclass(frozen=True)
class ShippedModel:
    """A base model on disk: a Hugging Face checkpoint folder, and what a platform must know about it."""

    id: str
    directory: Path
    display_name: str
    context_length: int
    lora_alpha_ratio: float
    """alpha / r of LoRA adapters on it."""
    default_batch_tokens: int
    """Tokens per optimizer step that suit it."""
    parameter_count: int
    hidden_size: int


def shipped() -> list[ShippedModel]:
    """All shipped base models, the smallest first. Raises FileNotFoundError if the package data is incomplete."""
    root = Path(str(resources.files("local_platform.basemodels").joinpath("data")))
    return [_describe(recipe, root / recipe.id) for recipe in RECIPES.values()]


def read_record(directory: Path) -> dict[str, Any]:
    """The build record beside the weights: recipe, its digest, the digest of each file, losses, skills."""
    return json.loads((directory / RECIPE_FILE).read_text())


def _describe(recipe: Recipe, directory: Path) -> ShippedModel:
    return ShippedModel(
        id=recipe.id,
        directory=directory,
        display_name=recipe.display_name,
        context_length=recipe.context_length,
        lora_alpha_ratio=recipe.lora_alpha_ratio,
        default_batch_tokens=recipe.default_batch_tokens,
        parameter_count=read_record(directory)["parameterCount"],
        hidden_size=recipe.hidden_size,
    )
