"""The documents are true: links resolve, settings and benchmarks are all described, commands exist."""

import re
from pathlib import Path

import pytest

from pilotlight.settings import Settings

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which does not exist"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    assert f"`PILOTLIGHT_{name.upper()}`" in (ROOT / "docs/settings.md").read_text()


def test_every_benchmark_is_documented_and_exists() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    named = set(re.findall(r"benchmarks/(\w+)\.py", text))
    assert named == {path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", page.read_text())) <= targets


def test_folders_named_in_the_architecture_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for folder in re.findall(r"^([a-z_]+)/ ", text, re.MULTILINE):
        assert (ROOT / folder).is_dir(), f"ARCHITECTURE.md names {folder}/"
