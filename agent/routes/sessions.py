"""Sessions: create, list, get, update, cancel, clean up, delete [DESIGN section 3]."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from agent import sessions, updates
from agent.context import CallerDep, ControlDep
from agent.failures import ERRORS
from agent.front import user_principal
from agent.resources import cancel_jobs, clean_up
from agent.session_list import list_sessions
from agent.stopping import cancel_session
from agent.wire import (
    CancelReply,
    CleanupReply,
    CleanupSession,
    CreateSession,
    SessionPage,
    SessionView,
    UpdateSession,
    ValidatedSession,
)
from pilotlight.listing import ListParams
from pilotlight.strict_json import StrictRoute

router = APIRouter(
    prefix="/v1/accounts/{account}/sessions", route_class=StrictRoute, responses=ERRORS, tags=["sessions"]
)
Json = dict[str, Any]


@router.post("", response_model=SessionView | ValidatedSession)
def create(control: ControlDep, caller: CallerDep, body: CreateSession) -> Json:
    """Start a session. Nothing is spent before its plan is approved."""
    sessions.check_request(control.settings, body, caller)
    if body.validate_only:
        checked = body.model_dump(include={"instruction", "scope", "spend_limit_usd", "auto_approve"})
        return ValidatedSession(**checked).model_dump(mode="json", by_alias=True)
    reply, new = sessions.create_session(control.engine, control.settings, caller, body)
    if new:
        control.dispatcher.enqueue(reply["sessionId"])
    return reply


@router.get("", response_model=SessionPage)
def list_(
    control: ControlDep,
    caller: CallerDep,
    page_size: Annotated[int, Query(alias="pageSize", ge=0)] = 0,
    page_token: Annotated[str, Query(alias="pageToken")] = "",
    filter: str = "",
    order_by: Annotated[str, Query(alias="orderBy")] = "",
    read_mask: Annotated[str, Query(alias="readMask")] = "",
) -> Json:
    """The account's sessions, newest first unless ordered otherwise."""
    params = ListParams(min(page_size, 200) or 50, page_token, filter, order_by, read_mask)
    return list_sessions(control.engine, caller.account, params)


@router.get("/{session}", response_model=SessionView)
def get(control: ControlDep, caller: CallerDep, session: str) -> Json:
    """One session: status, the exact question, plan, cost, artifacts."""
    return sessions.read_session(control.engine, control.settings, caller.account, session)


@router.post("/{session}:update", response_model=SessionView)
def update(control: ControlDep, caller: CallerDep, session: str, body: UpdateSession) -> Json:
    """Answer a waiting session, steer a running one, continue a succeeded one, retry a failed one."""
    reply = updates.update_session(control.engine, control.settings, caller, session, body)
    control.dispatcher.enqueue(session)
    return reply


@router.post("/{session}:cancel", response_model=CancelReply)
async def cancel(control: ControlDep, caller: CallerDep, session: str) -> Json:
    """Stop the session, and with the caller's own rights the jobs that it started. The record stays."""
    await run_in_threadpool(cancel_session, control.engine, caller, session)
    await control.dispatcher.stop(session)
    handled = await cancel_jobs(control, user_principal(caller), session)
    view = await run_in_threadpool(sessions.read_session, control.engine, control.settings, caller.account, session)
    return {"session": view, "resources": [item.model_dump(mode="json", by_alias=True) for item in handled]}


@router.post("/{session}:cleanup", response_model=CleanupReply)
async def cleanup(control: ControlDep, caller: CallerDep, session: str, body: CleanupSession) -> CleanupReply:
    """List what the session created; with `confirm`, remove it with the caller's own rights, and nothing else."""
    name = await run_in_threadpool(sessions.check_cleanup, control.engine, caller, session, body.confirm)
    return CleanupReply(resources=await clean_up(control, user_principal(caller), name, body.confirm))


@router.delete("/{session}")
def delete(control: ControlDep, caller: CallerDep, session: str) -> dict[str, str]:
    """Remove the record and the workspace, for good."""
    sessions.delete_session(control.engine, control.settings, caller, session)
    return {}
