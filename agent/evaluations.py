"""Evaluators of a turn: code that a model wrote or a user brought, run beside the runner and never inside it.

The runner cannot start a sandbox itself. What it sends is run with no file, no socket and no key; see runner.sandbox.
"""

import os
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import JsonValue, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from agent.binding import find_turn
from agent.context import Control, ControlDep
from agent.launchers import evaluator_limits
from agent.packages import install_packages
from agent.questions import require_turn
from agent.store import load_session, reading
from agent.turn_wire import EvaluatedValue, EvaluateReply, EvaluateRequest
from agent.turns import Turn
from pilotlight.errors import InvalidArgument
from pilotlight.settings import Settings
from pilotlight.strict_json import StrictRoute
from runner.sandbox.evaluator import Evaluation, EvaluatorCall, run_evaluator

router = APIRouter(prefix="/turn/v1", route_class=StrictRoute)

ROW_SECONDS = 5.0
"""Wall time of one row, after which it scores nothing."""
_RESULTS: TypeAdapter[list[EvaluatedValue]] = TypeAdapter(list[EvaluatedValue])
_SLOTS = 50_000
"""User IDs of the sandboxes of runners; those of evaluators follow, so that neither counts against the other."""


@router.post("/evaluate")
async def evaluate(
    control: ControlDep, turn: Annotated[Turn, Depends(find_turn)], body: EvaluateRequest
) -> EvaluateReply:
    """Call `evaluate(row, completion)` of the source for each row, in one fresh sandbox.

    Raises what `run_evaluator` raises: FailedPrecondition, ResourceExhausted, InvalidArgument; and PermissionDenied for
    packages that no approved plan of the session names, FailedPrecondition when they cannot be installed.
    """
    await run_in_threadpool(_check_turn, control, turn)
    limits, user = evaluator_limits(control.settings), _user(control.settings, turn)
    packages = None
    if body.requirements:
        wanted = (control.engine, control.settings, turn.session, body.requirements)
        packages = await run_in_threadpool(install_packages, *wanted)
        limits = replace(limits, wall_seconds=limits.wall_seconds + control.settings.evaluator_import_seconds)
    rows: list[JsonValue] = [[item.row, item.completion] for item in body.rows]
    call = EvaluatorCall(source=body.source, input=rows, row_seconds=ROW_SECONDS)
    async with control.evaluators:
        done = await run_evaluator(call, limits, user, packages)
    return EvaluateReply(results=_read(done, len(rows)), log=done.log)


def _check_turn(control: Control, turn: Turn) -> None:
    with reading(control.engine) as db:
        require_turn(db, load_session(db, turn.session), turn.epoch)


def _user(settings: Settings, turn: Turn) -> int | None:
    return settings.sandbox_uid_base + _SLOTS + turn.slot % _SLOTS if os.getuid() == 0 else None


def _read(done: Evaluation, rows: int) -> list[EvaluatedValue]:
    value: Any = done.value
    try:
        results = _RESULTS.validate_python(value)
    except ValidationError as error:
        raise InvalidArgument("The evaluator replaced its results by something else.") from error
    if len(results) != rows:
        raise InvalidArgument(f"The evaluator returned {len(results)} results for {rows} rows.")
    return results
