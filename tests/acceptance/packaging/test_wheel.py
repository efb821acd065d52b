"""The wheel holds everything: built, installed into a fresh environment, and run from another folder."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with only the wheel in it; third-party packages are borrowed from ours, none of our code."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    borrowed = tmp_path_factory.mktemp("borrowed")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "pilotlight" not in entry.name.lower() and not entry.name.endswith(".pth"):
            (borrowed / entry.name).symlink_to(entry)
    (site / "borrowed.pth").write_text(f"{borrowed}\n")
    return folder


def test_data_files_are_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for wanted in (
        "manifest/pilot.yaml",
        "manifest/registry.yaml",
        "prompts/plan.md.j2",
        "pilotlight/prices/local.yaml",
        "local_platform/basemodels/data/ember-1m/model.safetensors",
    ):
        assert wanted in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


def test_installed_programs_run_from_another_folder(environment: Path, tmp_path: Path) -> None:
    for program, arguments, wanted in (
        ("firectl", ["version"], "0.1.0"),
        ("pilotlight", ["interpret", "--json", "Use 2 epochs"], '{"epochs": 2}'),
    ):
        command = [str(environment / "bin" / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={}, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, wanted), done.stderr


def test_installed_packages_load_their_data(environment: Path, tmp_path: Path) -> None:
    code = (
        "import manifest, prompts; from pilotlight.pricebook import load_prices; import local_platform.basemodels as b;"
        "print(manifest.__file__); print(load_prices('local').backend, [model.id for model in b.shipped()])"
    )
    command = [str(environment / "bin" / "python"), "-P", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={}, check=False)
    assert done.returncode == 0, done.stderr
    assert str(environment) in done.stdout
    assert "local ['ember-500k', 'ember-1m']" in done.stdout
