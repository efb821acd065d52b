"""Apply each mutant to a copy of the tree, run its tests there, and see them fail."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.mutation.catalogue import ROOT, Mutant

PASSED, FAILED = 0, 1
"""pytest's exit codes; any other means that the tests did not run."""
_SECONDS = 300.0


@dataclass(frozen=True)
class Outcome:
    """How a mutant fared. `caught`: its tests ran, and one failed."""

    mutant: Mutant
    code: int
    output: str

    @property
    def caught(self) -> bool:
        """Only a failing test catches: a collection error says nothing about the protection."""
        return self.code == FAILED


def run_mutants(mutants: Sequence[Mutant], workers: int = 1) -> Iterator[Outcome]:
    """Outcomes in order. Every worker has a copy of the tree of its own; this checkout is never changed."""
    with tempfile.TemporaryDirectory(prefix="pilotlight-mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for index in range(workers):
            copies.put(copy_tree(Path(folder, str(index))))

        def run(mutant: Mutant) -> Outcome:
            copy = copies.get()
            try:
                return run_mutant(mutant, copy)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(run, mutants)


def run_mutant(mutant: Mutant, copy: Path) -> Outcome:
    """Apply, test, restore."""
    with applied(mutant, copy):
        code, output = run_tests(mutant.tests, copy)
    return Outcome(mutant, code, output)


@contextmanager
def applied(mutant: Mutant, copy: Path) -> Generator[None]:
    """The mutant in `copy` for as long as the block runs."""
    before = mutant.apply(copy)
    try:
        yield
    finally:
        (copy / mutant.file).write_text(before, "utf-8")


def run_tests(nodes: Sequence[str], copy: Path) -> tuple[int, str]:
    """pytest's exit code and output; processes that the tests start import the copy too."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "pytest_timeout", "--no-header", "--tb=line", "-m", ""]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the others cost more time than most of the tests
    command = [sys.executable, "-m", "pytest", *options, *nodes]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"not done after {_SECONDS:g} s"
    return done.returncode, done.stdout[-4000:] + done.stderr[-2000:]


def copy_tree(target: Path) -> Path:
    """What git would commit of this checkout, copied."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = ROOT / name
        if name and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target
