"""What an evaluator is made of: requirements, archives, entry points, and how its function is called."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pilotlight.environments import build_environment, sweep_environments
from pilotlight.errors import FailedPrecondition, InvalidArgument
from pilotlight.requirements import parse_requirements
from pilotlight.sources import entry_of, pack, unpack
from runner.sandbox.harness import as_source, call
from runner.sandbox.score import read_score


def test_requirements_are_pinned_packages() -> None:
    text = "# tools\nRapidFuzz == 3.14.1  # fuzzy\n\nnumpy==2.3.0; python_version > '3'\nx[b,a]==1\n"
    assert parse_requirements(text) == ("numpy==2.3.0", "rapidfuzz==3.14.1", "x[a,b]==1")
    assert parse_requirements("") == ()


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy>=2",
        "numpy==2.*",
        "numpy==2,==3",
        "--index-url http://evil",
        "-e .",
        "./local",
        "git+https://example.com/x",
        "x @ https://example.com/x.whl",
        "numpy==1; python_version < '3'",
        "numpy==2\nNumPy==3",
    ],
)
def test_nothing_else_is_a_requirement(line: str) -> None:
    with pytest.raises(InvalidArgument, match="Line"):
        parse_requirements(line)


def test_an_archive_comes_back_as_it_was() -> None:
    files = {"evaluator.py": "def evaluate(row, completion): ...", "lib/words.py": "A = 'naïve 日本'"}
    assert unpack(pack(files)) == files
    assert pack(files) == pack(dict(reversed(files.items())))


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(out.getvalue())


def link(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no archive", "cannot be read"),
        (pack({"a.py": ""})[:-8], "cannot be read"),
        (tar((tarfile.TarInfo("../a.py"), b"")), "dot component"),
        (tar((tarfile.TarInfo("/a.py"), b"")), "absolute"),
        (tar((link("a.py"), b"")), "is not a file"),
        (tar((tarfile.TarInfo("a.py"), b"\xff")), "cannot be read"),
        (gzip.compress(bytes(5 << 20)), "larger than 4 MiB"),
        (tar(*((tarfile.TarInfo(f"{n}.py"), b"") for n in range(201))), "more than 200 files"),
        (tar((tarfile.TarInfo(".git/config"), b"")), "no files"),
    ],
    ids=["none", "cut", "dots", "absolute", "link", "no-text", "bomb", "many", "hidden"],
)
def test_other_archives_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        unpack(data)


def test_the_entry_point() -> None:
    files = {"evaluator.py": "", "pkg/main.py": "", "test_it.py": ""}
    assert entry_of(files, "") == "evaluator.py"
    assert entry_of(files, "pkg.main:score") == "pkg/main.py::score"
    assert entry_of(files, "pkg/main.py::score") == "pkg/main.py::score"
    assert entry_of({"a.py": "", "test_b.py": ""}, "") == "test_b.py"
    for said, have in (("missing.py", files), ("", {"a.py": "", "b.py": ""}), ("", {"a.txt": ""})):
        with pytest.raises(InvalidArgument):
            entry_of(have, said)


ROW = {"messages": [{"role": "user", "content": "?"}], "ground_truth": "4", "extra": 1}


def by_name(ground_truth: str, completion: str) -> float:
    return float(ground_truth == completion)


def by_place(said: str, right: str, strict: bool = True) -> dict[str, Any]:
    return {"score": float(said == right), "reason": "same"}


async def by_row(row: dict[str, Any], model_output: str) -> bool:
    return row["extra"] == 1 and len(row["messages"]) == 1 and model_output == "4"


@pytest.mark.parametrize("function", [by_name, by_place, by_row])
def test_a_function_gets_what_its_parameters_name(function: Any) -> None:
    for completion, wanted in (("4", 1.0), ("5", 0.0)):
        found = call(function, ROW, completion)
        assert (found["score"] if isinstance(found, dict) else found) == wanted


def test_any_text_can_be_a_file_of_a_source() -> None:
    names: dict[str, Any] = {}
    text = "A = '''\\n\"'''\nB = '{x!r}'"
    source = as_source({"main.py": text}, "main.py::run")
    given = source.replace("from runner.sandbox.harness import call, load\n", "").replace("load(", "dict(files=", 1)
    exec(given.replace(", 'main.py::run')", ")"), names)
    assert names["_function"] == {"files": {"main.py": text}}


@pytest.mark.parametrize(
    ("result", "score", "error"),
    [
        ({"value": 0.5}, 0.5, ""),
        ({"value": {"score": 1, "reason": "r"}}, 1.0, ""),
        ({"error": "ValueError: x"}, 0.0, "ValueError: x"),
        ({"value": 2}, 0.0, "not between"),
        ({"value": True}, 0.0, "something else"),
        ({"value": "1"}, 0.0, "something else"),
        ({"value": {"score": None}}, 0.0, "something else"),
        ([], 0.0, "something else"),
    ],
)
def test_what_is_no_score_counts_as_zero_with_the_reason(result: Any, score: float, error: str) -> None:
    found = read_score(result)
    assert found["score"] == score
    assert error in found.get("error", "")


def write_wheel(folder: Path, name: str, code: str) -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", code)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def write_source(folder: Path, name: str, mark: Path) -> None:
    setup = f"open({str(mark)!r}, 'w').close()".encode()
    (folder / f"{name}-1.0.tar.gz").write_bytes(tar((tarfile.TarInfo(f"{name}-1.0/setup.py"), setup)))


def test_packages_are_installed_once_and_from_wheels_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # which turns it off: a build would find what it needs
    write_wheel(tmp_path, "lamp", "COLOUR = 'warm'")
    home = tmp_path / "environments"
    built = build_environment(("lamp==1.0",), home, 60)
    assert (built.packages / "lamp.py").read_text() == "COLOUR = 'warm'"
    (tmp_path / "lamp-1.0-py3-none-any.whl").unlink()
    assert build_environment(("lamp==1.0",), home, 60).packages == built.packages
    mark = tmp_path / "setup-was-run"
    write_source(tmp_path, "origin", mark)
    with pytest.raises(FailedPrecondition, match="cannot be installed"):
        build_environment(("origin==1.0",), home, 60)
    assert not mark.exists()
    assert [entry.name for entry in home.iterdir()] == [built.packages.parent.name]


def test_packages_that_nobody_uses_any_more_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    home = tmp_path / "environments"
    assert sweep_environments(home) == []
    for name in ("lamp", "lantern"):
        write_wheel(tmp_path, name, "")
        build_environment((f"{name}==1.0",), home, 60)
    (home / ".part-killed").mkdir()
    for folder in home.iterdir():
        os.utime(folder, (1.0, 1.0))
    used = build_environment(("lamp==1.0",), home, 60)
    assert len(sweep_environments(home)) == 2
    assert list(home.iterdir()) == [used.packages.parent]
