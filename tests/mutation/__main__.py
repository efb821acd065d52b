"""`python -m tests.mutation [--only TEXT] [--sample N] [--workers N]`: run the mutants, exit 1 if one survives."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.mutation.campaign import PASSED, copy_tree, run_mutants, run_tests
from tests.mutation.catalogue import Mutant, load_mutants


def main() -> int:
    """Baseline first: tests that fail without a mutant prove nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name or file contains this text")
    parser.add_argument("--sample", type=int, default=0, help="only so many, evenly spread over the list")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-baseline", action="store_true")
    options = parser.parse_args()
    mutants = _choose(options.only, options.sample)
    started = time.monotonic()
    if not options.no_baseline and not _baseline(mutants):
        return 1
    survivors = 0
    for outcome in run_mutants(mutants, options.workers):
        survivors += not outcome.caught
        print(f"{'caught  ' if outcome.caught else 'SURVIVED'}  {outcome.mutant.name}", flush=True)
        if not outcome.caught:
            print(f"  exit code {outcome.code}\n{outcome.output}", flush=True)
    seconds = time.monotonic() - started
    print(f"{len(mutants)} mutants, {len(mutants) - survivors} caught, {survivors} survived, {seconds:.0f} s")
    return 1 if survivors or not mutants else 0


def _choose(only: str, sample: int) -> list[Mutant]:
    mutants = [mutant for mutant in load_mutants() if only in mutant.name or only in mutant.file]
    if not 0 < sample < len(mutants):
        return mutants
    return [mutants[index * len(mutants) // sample] for index in range(sample)]


def _baseline(mutants: list[Mutant]) -> bool:
    nodes = sorted({node for mutant in mutants for node in mutant.tests})
    with tempfile.TemporaryDirectory(prefix="pilotlight-baseline-") as folder:
        code, output = run_tests(nodes, copy_tree(Path(folder, "tree")))
    print(f"baseline: {len(nodes)} tests or groups, exit code {code}", flush=True)
    if code != PASSED:
        print(output)
    return code == PASSED


if __name__ == "__main__":
    sys.exit(main())
