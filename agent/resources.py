"""What a session created, and ending or removing it with the caller's own rights."""

from collections.abc import Sequence

from agent.context import Control
from agent.wire import Handled
from gateway import Principal
from pilotlight.errors import NotFound, PilotlightError

_JOBS = ("supervisedFineTuningJobs", "dpoJobs", "reinforcementFineTuningJobs", "rlorTrainerJobs", "batchInferenceJobs")
_USERS_FIRST = ("deployedModels", "deployments", *_JOBS, "evaluationJobs", "models")
"""What may use what comes later here; other kinds are used by these only."""
_ENDED = frozenset(
    f"JOB_STATE_{state}" for state in ("COMPLETED", "FAILED", "CANCELLED", "EARLY_STOPPED", "EXPIRED", "DELETING")
)


async def cancel_jobs(control: Control, caller: Principal, session: str, only: Sequence[str] = ()) -> list[Handled]:
    """Cancel the session's jobs that have not ended, or only those named. One that may not be cancelled is kept."""
    names = [name for name in control.gateway.created_by(session) if name.split("/")[-2] in _JOBS]
    names = [name for name in names if name in only] if only else names
    return [await _cancel_job(control, caller, name) for name in names]


async def clean_up(control: Control, caller: Principal, session: str, confirm: bool) -> list[Handled]:
    """List what the session created, or with `confirm` remove it, newest first: users go before what they use.

    By kind before time: a clock that jumped has mixed up the times.
    """
    names = sorted(reversed(control.gateway.created_by(session)), key=_rank)
    if not confirm:
        return [Handled(name=name, action="listed") for name in names]
    return [await _delete(control, caller, name) for name in names]


def _rank(name: str) -> int:
    kind = name.split("/")[-2]
    return _USERS_FIRST.index(kind) if kind in _USERS_FIRST else len(_USERS_FIRST)


async def _cancel_job(control: Control, caller: Principal, name: str) -> Handled:
    try:
        job = await control.gateway.call(caller, "GET", f"/v1/{name}")
        if job.get("state") in _ENDED:
            return Handled(name=name, action="kept", reason=f"it had ended: {job['state']}")
        await control.gateway.call(caller, "POST", f"/v1/{name}:cancel", body={})
    except PilotlightError as error:
        return Handled(name=name, action="kept", reason=str(error))
    return Handled(name=name, action="cancelled")


async def _delete(control: Control, caller: Principal, name: str) -> Handled:
    try:
        await control.gateway.call(caller, "DELETE", f"/v1/{name}")
    except NotFound:
        return Handled(name=name, action="deleted", reason="it was gone already")
    except PilotlightError as error:
        return await _look_again(control, caller, name, error)
    return Handled(name=name, action="deleted")


async def _look_again(control: Control, caller: Principal, name: str, refused: PilotlightError) -> Handled:
    """An earlier clean-up may have deleted it, and its answer was lost: deployments are kept for some days then."""
    try:
        found = await control.gateway.call(caller, "GET", f"/v1/{name}")
    except NotFound:
        return Handled(name=name, action="deleted", reason="it was gone already")
    except PilotlightError as error:
        return Handled(name=name, action="kept", reason=str(error))
    if found.get("state") == "DELETED":
        return Handled(name=name, action="deleted", reason="it was gone already")
    return Handled(name=name, action="kept", reason=str(refused))
