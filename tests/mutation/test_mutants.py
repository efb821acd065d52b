"""The mutation list fits the tree, and a survivor would be reported. `make mutants` runs the whole list."""

from pathlib import Path

import pytest

from tests.mutation.campaign import FAILED, PASSED, run_mutant
from tests.mutation.catalogue import ROOT, Mutant, load_mutants


@pytest.mark.parametrize("mutant", load_mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_still_fits(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text("utf-8").count(mutant.find) == 1
    assert mutant.replace != mutant.find
    for node in mutant.tests:
        path, _, test = node.partition("::")
        text = (ROOT / path).read_text("utf-8") if test else ""
        assert (ROOT / path).exists(), node
        assert not test or f"def {test.partition('[')[0].rpartition('::')[2]}(" in text, node


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "guard.py").write_text("def allows(x):\n    return x < 3\n")
    (tmp_path / "test_guard.py").write_text("import guard\n\ndef test_guard():\n    assert not guard.allows(3)\n")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    return tmp_path


@pytest.mark.parametrize(
    ("replacement", "code"), [("x < 4", FAILED), ("x < 2", PASSED), ("x <", 2)], ids=["caught", "survives", "broken"]
)
def test_only_a_failing_test_catches(tree: Path, replacement: str, code: int) -> None:
    mutant = Mutant(
        name="a guard is moved", file="guard.py", find="x < 3", replace=replacement, tests=["test_guard.py"]
    )
    outcome = run_mutant(mutant, tree)
    assert (outcome.code, outcome.caught) == (code, code == FAILED), outcome.output
    assert (tree / "guard.py").read_text() == "def allows(x):\n    return x < 3\n"


def test_a_text_that_is_not_unique_is_refused(tree: Path) -> None:
    (tree / "guard.py").write_text("def allows(x):\n    return x < 3\n\nallowed = allows\n")
    mutant = Mutant(name="not unique at all", file="guard.py", find="allow", replace="y", tests=["test_guard.py"])
    with pytest.raises(ValueError, match="times"):
        run_mutant(mutant, tree)
