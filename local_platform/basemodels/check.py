"""Verify a built base model: files and recipe by digest, the first training steps by loss, the skills by measuring."""

import math
from pathlib import Path

from local_platform.basemodels.build import digest_files, load
from local_platform.basemodels.pretraining import pretrain, train_corpus_tokenizer
from local_platform.basemodels.recipe import RECIPES
from local_platform.basemodels.shipped import read_record
from local_platform.basemodels.skills import measure_skills

LOSS_TOLERANCE = 1e-3
"""Relative; other machines add numbers in another order."""
SKILL_TOLERANCE = 0.05


def check(directory: Path, *, steps: int = 5) -> list[str]:
    """What does not hold for the model in `directory`; empty when all is as recorded."""
    record = read_record(directory)
    recipe = RECIPES[record["recipe"]["id"]]
    problems = []
    if recipe.digest() != record["recipeDigest"]:
        problems.append("the recipe or its corpus changed since the weights were made")
    changed = {name for name, _ in digest_files(directory).items() ^ record["files"].items()}
    if changed:
        problems.append(f"files differ from the record: {', '.join(sorted(changed))}")
    losses: list[float] = []
    pretrain(recipe, train_corpus_tokenizer(recipe), steps=steps, on_step=lambda _, loss: losses.append(loss))
    if not all(map(_is_close, losses, record["firstLosses"])):
        problems.append(f"training again gives losses {losses}, recorded are {record['firstLosses'][:steps]}")
    return problems


def check_skills(directory: Path) -> tuple[dict[str, float], list[str]]:
    """The skills as measured now, and those that fall short of the record."""
    record = read_record(directory)
    skills = measure_skills(*load(directory), count=record["skillChats"])
    short = [name for name, score in skills.items() if score < record["skills"][name] - SKILL_TOLERANCE]
    return skills, [f"{name}: {skills[name]:.2f}, recorded {record['skills'][name]:.2f}" for name in short]


def _is_close(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=LOSS_TOLERANCE)
