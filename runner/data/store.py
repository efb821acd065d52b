"""A profile on disk between the nodes of the graph: the summary as JSON, the numbers per row as flat arrays."""

from array import array
from pathlib import Path
from typing import Any

from runner.data.findings import Finding
from runner.data.profile import Profile
from runner.data.sides import Source
from runner.workspace import Workspace

_ARRAYS = ("lines", "groups", "tokens")


def save_source(workspace: Workspace, role: str, source: Source, facts: dict[str, Any]) -> None:
    """Keep a staged and profiled dataset under `role` (`train` or `eval`)."""
    folder = workspace.state / "profiles" / role
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
        with (folder / f"{name}.bin").open("wb") as stream:
            getattr(source.profile, name).tofile(stream)
    profile = source.profile
    summary = facts | {
        "name": source.name,
        "file": source.path.name,
        "rows": profile.rows,
        "characters": profile.characters,
        "labelled": profile.labelled,
        "labels": dict(profile.labels.most_common(50)) if profile.labelled else {},
        "conversions": dict(profile.conversions),
        "turns": dict(profile.turns),
        "findings": [[f.code, f.severity, f.count, f.lines] for f in profile.findings],
    }
    workspace.write_json(f"state/profiles/{role}/summary.json", summary)


def load_facts(workspace: Workspace, role: str) -> dict[str, Any] | None:
    """The summary, or None when nothing is kept under `role`."""
    return workspace.read_json(f"state/profiles/{role}/summary.json")


def load_source(workspace: Workspace, role: str) -> Source | None:
    """The dataset kept under `role`."""
    facts = load_facts(workspace, role)
    if facts is None:
        return None
    folder = workspace.state / "profiles" / role
    profile = Profile(rows=facts["rows"], characters=facts["characters"], labelled=facts["labelled"])
    for name in _ARRAYS:
        _read(folder / f"{name}.bin", getattr(profile, name))
    profile.conversions.update(facts["conversions"])
    profile.findings = [
        Finding(code, sev, count, [(a, b) for a, b in ls]) for code, sev, count, ls in facts["findings"]
    ]
    return Source(facts["name"], workspace.data / facts["file"], profile)


def _read(path: Path, target: "array[int]") -> None:
    with path.open("rb") as stream:
        target.fromfile(stream, path.stat().st_size // target.itemsize)
