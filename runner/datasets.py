"""New datasets of a session: created, uploaded and validated once, under names derived from the session."""

import time
from contextlib import suppress
from typing import Any

from pilotlight.errors import AlreadyExists, FailedPrecondition
from runner.calls import Call
from runner.data.sides import DataSide
from runner.turn import Turn

_READY_WITHIN = 600.0


def publish(turn: Turn, sides: list[DataSide]) -> list[str]:
    """Make every side that has a file of its own a READY dataset; returns the names that were made."""
    made: dict[str, None] = {}
    for side in sides:
        if side.file is not None and side.name not in made:
            _publish_one(turn, side)
            made[side.name] = None
    return list(made)


def _publish_one(turn: Turn, side: DataSide) -> None:
    account, identifier = turn.context.account, side.name.rsplit("/", 1)[-1]
    session = turn.context.session
    path = f"/v1/accounts/{account}/datasets"
    step = identifier.removeprefix(f"ft-{session}-")
    body: dict[str, Any] = {
        "datasetId": identifier,
        "dataset": {"userUploaded": {}, "format": "CHAT", "exampleCount": str(side.rows)},
    }
    # Created before a crash? What it holds is compared below.
    with suppress(AlreadyExists):
        turn.client.send(Call(f"dataset-{step}", "CreateDataset", "POST", path, {}, body), session)
    found = turn.client.get(f"{path}/{identifier}")
    if found.get("state") != "READY":
        turn.client.upload(
            f"{path}/{identifier}:upload", turn.workspace.data / str(side.file), f"{session}/upload-{step}"
        )
        validate = Call(
            f"validate-{step}", "ValidateDatasetUpload", "POST", f"{path}/{identifier}:validateUpload", {}, {}
        )
        turn.client.send(validate, session)
    _check(turn, f"{path}/{identifier}", side)


def _check(turn: Turn, path: str, side: DataSide) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while (found := turn.client.get(path)).get("state") != "READY":
        if time.monotonic() > deadline:
            raise FailedPrecondition(f"{side.name} did not become READY: {found.get('status')}")
        time.sleep(turn.poll_seconds)
    digest = found.get("contentHash")
    if digest and str(digest).rsplit(":", 1)[-1] != side.digest:
        raise FailedPrecondition(f"{side.name} holds other content than the plan was made from.")
