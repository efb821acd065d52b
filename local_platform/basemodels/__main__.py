"""`python -m local_platform.basemodels build --output DIR [--model ID]`, and `check [DIR ...]`."""

import argparse
import logging
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch

from local_platform.basemodels.build import build
from local_platform.basemodels.check import check, check_skills
from local_platform.basemodels.recipe import RECIPES
from local_platform.basemodels.shipped import shipped


def main() -> int:
    """Build or check; 1 if a check fails."""
    options = _parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    if options.command == "check":
        return max(_check(directory) for directory in options.directory or [model.directory for model in shipped()])
    for model_id in options.model or RECIPES:
        logging.info("wrote %s", build(RECIPES[model_id], options.output))
    return 0


def _check(directory: Path) -> int:
    problems = check(directory)
    skills, short = check_skills(directory)
    logging.info("%s: %s", directory.name, ", ".join(f"{name} {score:.2f}" for name, score in skills.items()))
    for problem in problems + short:
        logging.error("%s: %s", directory.name, problem)
    return 1 if problems or short else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local_platform.basemodels", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="train the base models from their recipes")
    builder.add_argument("--output", type=Path, required=True)
    builder.add_argument("--model", action="append", choices=sorted(RECIPES))
    checker = commands.add_parser("check", help="verify digests, first losses and skills")
    checker.add_argument("directory", type=Path, nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
