"""Build a tiny base model into a folder: weights, tokenizer, build record, model card."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2
import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from local_platform.basemodels.pretraining import pretrain, train_corpus_tokenizer
from local_platform.basemodels.recipe import Recipe
from local_platform.basemodels.shipped import RECIPE_FILE
from local_platform.basemodels.skills import measure_skills
from pilotlight.plan import canonical_json

CARD_FILE = "MODEL_CARD.md"
SKILL_CHATS = 60
_LIBRARIES = ("torch", "transformers", "tokenizers")
_log = logging.getLogger(__name__)


def build(recipe: Recipe, output: Path) -> Path:
    """Train and write `output/<id>`, replacing what is there; returns that folder."""
    started = time.process_time()
    losses: list[float] = []
    tokenizer = train_corpus_tokenizer(recipe)
    model = pretrain(recipe, tokenizer, on_step=_log_progress(recipe, losses))
    seconds = time.process_time() - started
    directory = output / recipe.id
    shutil.rmtree(directory, ignore_errors=True)
    _write_checkpoint(model, tokenizer, directory)
    record = _record(recipe, directory, losses, seconds)
    (directory / RECIPE_FILE).write_text(canonical_json(record) + "\n")
    (directory / CARD_FILE).write_text(_render_card(recipe, record))
    return directory


def digest_files(directory: Path) -> dict[str, str]:
    """SHA-256 of each file that a model is loaded from, by name."""
    names = sorted(path.name for path in directory.iterdir() if path.name not in (RECIPE_FILE, CARD_FILE))
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}


def load(directory: Path) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]:
    """The model in fp32, eval mode, and its tokenizer."""
    model = Qwen3ForCausalLM.from_pretrained(directory, dtype=torch.float32)
    return model.eval(), PreTrainedTokenizerFast.from_pretrained(directory)


def _log_progress(recipe: Recipe, losses: list[float]) -> Callable[[int, float], None]:
    def on_step(step: int, loss: float) -> None:
        losses.append(loss)
        if step % 50 == 0 or step == recipe.steps - 1:
            _log.info("%s step %d of %d, loss %.3f", recipe.id, step + 1, recipe.steps, loss)

    return on_step


def _write_checkpoint(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    model.bfloat16().save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _record(recipe: Recipe, directory: Path, losses: list[float], seconds: float) -> dict[str, Any]:
    model, tokenizer = load(directory)
    return {
        "recipe": asdict(recipe),
        "recipeDigest": recipe.digest(),
        "files": digest_files(directory),
        "parameterCount": model.num_parameters(),
        "firstLosses": losses[:10],
        "lastLoss": sum(losses[-20:]) / 20,
        "cpuSeconds": round(seconds, 1),
        "skills": measure_skills(model, tokenizer, count=SKILL_CHATS),
        "skillChats": SKILL_CHATS,
        "versions": {name: metadata.version(name) for name in _LIBRARIES},
    }


def _render_card(recipe: Recipe, record: dict[str, Any]) -> str:
    source = resources.files("local_platform.basemodels").joinpath("card.md.j2").read_text()
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(source).render(recipe=recipe, record=record)
