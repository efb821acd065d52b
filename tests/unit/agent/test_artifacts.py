import os
from pathlib import Path

import pytest

from agent.artifacts import list_artifacts, open_artifact
from pilotlight.errors import InvalidArgument, NotFound


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "key").write_text("secret")
    work = tmp_path / "work"
    (work / "outputs" / "deep").mkdir(parents=True)
    (work / "state").mkdir()
    (work / "state" / "graph.db").write_text("hidden")
    (work / "plan.md").write_text("plan")
    (work / "outputs" / "deep" / "a.json").write_text("{}")
    (work / "outputs" / "link").symlink_to("../../secret.txt")
    (work / "outputs" / "linked").symlink_to("../../elsewhere", target_is_directory=True)
    (work / "plan.json").symlink_to("../secret.txt")
    os.mkfifo(work / "outputs" / "pipe")
    return work


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_only_regular_visible_files_are_listed(work: Path) -> None:
    assert [artifact.path for artifact in list_artifacts(work)] == ["outputs/deep/a.json", "plan.md"]
    assert list_artifacts(work / "absent") == []


@pytest.mark.parametrize("path", ["plan.md", "outputs/deep/a.json"])
def test_visible_files_are_opened(work: Path, path: str) -> None:
    artifact = open_artifact(work, path)
    assert os.read(artifact.descriptor, 100) == (work / path).read_bytes()
    assert artifact.size == (work / path).stat().st_size
    os.close(artifact.descriptor)


@pytest.mark.parametrize(
    "path",
    [
        "outputs/link",
        "outputs/linked/key",
        "outputs/linked",
        "outputs/pipe",
        "outputs/deep",
        "outputs",
        "outputs/absent",
        "outputs/deep/a.json/x",
        "outputs/" + "x" * 300,
        "plan.json",
        "final_report.md",
        "state/graph.db",
        "place",
    ],
)
def test_links_folders_pipes_and_hidden_files_are_not_there(work: Path, path: str) -> None:
    before = open_files()
    with pytest.raises(NotFound):
        open_artifact(work, path)
    assert open_files() == before


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "..", "../secret.txt", "outputs/../../secret.txt", "outputs//x", "outputs/./x", "outputs/\x00"],
)
def test_paths_that_leave_the_workspace_are_refused(work: Path, path: str) -> None:
    with pytest.raises(InvalidArgument):
        open_artifact(work, path)


def test_outputs_that_is_a_link_shows_nothing(work: Path) -> None:
    (work / "outputs").rename(work / "moved")
    (work / "outputs").symlink_to("../elsewhere", target_is_directory=True)
    assert [artifact.path for artifact in list_artifacts(work)] == ["plan.md"]
    with pytest.raises(NotFound):
        open_artifact(work, "outputs/key")


def test_listing_is_bounded_whatever_the_sandbox_left(work: Path) -> None:
    crowd = work / "outputs" / "crowd"
    crowd.mkdir()
    for number in range(1200):
        (crowd / f"f{number:04d}").touch()
    assert len(list_artifacts(work)) == 1001


def test_listing_looks_at_no_more_than_ten_thousand_entries(work: Path) -> None:
    crowd = work / "outputs" / "crowd"
    crowd.mkdir()
    for number in range(10_000):
        (crowd / f"a{number:05d}").symlink_to("nowhere")
    assert [artifact.path for artifact in list_artifacts(work)] == ["plan.md"], "outputs/deep comes after the crowd"


def test_deep_files_are_neither_listed_nor_opened(work: Path) -> None:
    deep = work.joinpath("outputs", *"abcdefgh")
    deep.mkdir(parents=True)
    (deep / "seen").touch()
    (deep / "i").mkdir()
    (deep / "i" / "unseen").touch()
    paths = [artifact.path for artifact in list_artifacts(work)]
    assert "outputs/a/b/c/d/e/f/g/h/seen" in paths
    assert "outputs/a/b/c/d/e/f/g/h/i/unseen" not in paths
    os.close(open_artifact(work, "outputs/a/b/c/d/e/f/g/h/seen").descriptor)
    with pytest.raises(NotFound):
        open_artifact(work, "outputs/a/b/c/d/e/f/g/h/i/unseen")
