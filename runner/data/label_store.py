"""A labelling on disk between the nodes of the graph: the summary as JSON, the numbers per row as flat arrays."""

from runner.data.findings import Finding
from runner.data.labels import Labelling
from runner.workspace import Workspace

_ARRAYS = ("rows", "groups")


def save_labelling(workspace: Workspace, role: str, key: str, labelling: Labelling) -> None:
    """Keep it under `role`. `key` tells what it was made of; another key is another labelling."""
    folder = workspace.state / "labels" / role
    folder.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
        with (folder / f"{name}.bin").open("wb") as stream:
            getattr(labelling, name).tofile(stream)
    summary = {
        "key": key,
        "rule": labelling.rule,
        "multi": labelling.multi,
        "sets": labelling.sets,
        "fits": labelling.fits,
        "findings": [[f.code, f.severity, f.count, f.lines] for f in labelling.findings],
    }
    workspace.write_json(f"state/labels/{role}/summary.json", summary)


def load_labelling(workspace: Workspace, role: str, key: str) -> Labelling | None:
    """What is kept under `role`, if it was made of this."""
    facts = workspace.read_json(f"state/labels/{role}/summary.json")
    if facts is None or facts["key"] != key:
        return None
    labelling = Labelling(facts["rule"], facts["multi"], [tuple(labels) for labels in facts["sets"]])
    folder = workspace.state / "labels" / role
    for name in _ARRAYS:
        target = getattr(labelling, name)
        path = folder / f"{name}.bin"
        with path.open("rb") as stream:
            target.fromfile(stream, path.stat().st_size // target.itemsize)
    labelling.fits = facts["fits"]
    labelling.findings = [
        Finding(code, severity, count, [(a, b) for a, b in lines]) for code, severity, count, lines in facts["findings"]
    ]
    return labelling
