"""Sessions kept as a release left them: the workspace with the planner's checkpoint, and what the outside knew."""

import base64
import json
import tarfile
from pathlib import Path
from typing import Any, get_type_hints

from pilotlight.plan import GrantSpec, Plan
from pilotlight.question import Answer, Question
from runner.state import GRAPH_VERSION, NODES, Pending, State
from tests.fixtures.planner_control import Control

RELEASES = Path(__file__).with_name("releases")
PLAIN = (
    *("instructions", "events", "effects", "applied", "datasets", "jobs", "deployments", "loras", "chats", "ended"),
    *("limited", "asleep", "downloads", "so_far", "base_loss", "epoch"),
)
"""What of a scripted control process is JSON already."""


def pack(control: Control, work: Path, folder: Path, name: str) -> None:
    """Keep a session that rests."""
    outside = {field: getattr(control, field) for field in PLAIN}
    outside |= {"keys": sorted(control.keys), "failing": sorted(control.failing)}
    outside["files"] = {key: base64.b64encode(value).decode() for key, value in control.files.items()}
    outside["plans"] = {key: plan.model_dump(mode="json", by_alias=True) for key, plan in control.plans.items()}
    outside["questions"] = [item.model_dump(mode="json", by_alias=True) for item in control.questions.values()]
    outside["answers"] = [item.model_dump(mode="json", by_alias=True) for item in control.answers.values()]
    outside["grants"] = [grant.model_dump(mode="json", by_alias=True) for grant in control.grants]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(outside, sort_keys=True) + "\n")
    with tarfile.open(folder / f"{name}.tar.xz", "w:xz") as archive:
        archive.add(work, ".", filter=_anonymous)


def unpack(folder: Path, name: str, work: Path) -> Control:
    """The session as it was kept: its workspace at `work`, and the control process that goes with it."""
    with tarfile.open(folder / f"{name}.tar.xz") as archive:
        archive.extractall(work, filter="data")
    outside: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    control = Control()
    for field in PLAIN:
        setattr(control, field, outside[field])
    control.effects = {key: (digest, reply) for key, (digest, reply) in control.effects.items()}
    control.keys, control.failing = set(outside["keys"]), set(outside["failing"])
    control.files = {key: base64.b64decode(value) for key, value in outside["files"].items()}
    # under the hash that was shown then, whatever this release's own form of the plan would hash to
    control.plans = {key: Plan.model_validate(plan) for key, plan in outside["plans"].items()}
    questions = [Question.model_validate(item) for item in outside["questions"]]
    answers = [Answer.model_validate(item) for item in outside["answers"]]
    control.questions = {question.question_id: question for question in questions}
    control.answers = {answer.question_id: answer for answer in answers}
    control.grants = [GrantSpec.model_validate(grant) for grant in outside["grants"]]
    return control


def describe_graph() -> dict[str, Any]:
    """What a waiting session depends on."""
    state = {name: str(kind) for name, kind in get_type_hints(State).items()}
    pending = {name: str(kind) for name, kind in get_type_hints(Pending).items()}
    return {"version": GRAPH_VERSION, "nodes": list(NODES), "state": state, "pending": pending}


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry
