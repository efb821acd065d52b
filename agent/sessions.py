"""Create, read and delete sessions: one transaction each."""

import secrets
from typing import Any

from sqlalchemy import Engine, delete, func
from sqlmodel import Session, col, select

from agent import journal, leases, spending
from agent.history import forget_session
from agent.notices.outbox import forget_notices
from agent.requests import find_reply, keep_reply
from agent.states import Status
from agent.store import get_session, reading, writing
from agent.sweeper import discard_deleted
from agent.tables import (
    AnswerRow,
    EventRow,
    InstructionRow,
    PlanRow,
    QuestionRow,
    RequestRow,
    SessionRow,
    TurnRow,
)
from agent.views import session_name, show_session
from agent.wire import CreateSession
from agent.workspace import Workspace
from pilotlight.clock import now, to_rfc3339
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from pilotlight.identity import Principal, check_writer
from pilotlight.money import to_micros
from pilotlight.settings import Settings

Json = dict[str, Any]

_ACTIVE = (Status.PENDING.value, Status.RUNNING.value)


def check_request(settings: Settings, body: CreateSession, caller: Principal) -> None:
    """What creation checks beyond the schema. Raises InvalidArgument, PermissionDenied."""
    check_writer(caller)
    ceiling = body.auto_approve
    if ceiling is None:
        return
    if ceiling.expire_time <= now():
        raise InvalidArgument("autoApprove.expireTime is in the past.")
    if caller.service_account or caller.preset is not None:
        # The ceiling is a person's approval in advance; the key that drives must not approve itself.
        raise PermissionDenied(
            "autoApprove must be set by a person, not by a service account.",
            hint="Leave it out: the session then waits for a person. Or let a person create the session.",
        )
    if settings.approvals_distinct_principal:
        raise PermissionDenied(
            "autoApprove would be your own approval of your own session, and approvals.distinct_principal is on.",
            hint="Leave it out: the session then waits until another person approves.",
        )


def create_session(engine: Engine, settings: Settings, caller: Principal, body: CreateSession) -> tuple[Json, bool]:
    """Store a pending session; returns its wire form and whether it is new (False: a replay of the requestId)."""
    scope = f"accounts/{caller.account}/sessions"
    with writing(engine) as db:
        if (reply := find_reply(db, scope, body.request_id, body)) is not None:
            return reply, False
        row = _new_row(db, caller, body)
        Workspace(settings, row.id).make()
        db.add(row)
        db.flush()
        payload = {"status": Status.PENDING.value, "move": "create", "reason": "", "instruction": row.instruction}
        journal.append(db, row.id, "status", payload)
        spending.open_account(db, row.id, body.spend_limit_usd, caller)
        if body.auto_approve is not None:
            spending.note_ceiling(db, row.id, body.auto_approve, caller)
        spending.write_allowance(db, row.id, settings, body.spend_limit_usd)
        reply = show_session(db, settings, get_session(db, row.account, row.id)).model_dump(mode="json", by_alias=True)
        keep_reply(db, scope, body.request_id, body, reply)
        reach(Point.CONTROL_CREATE_WRITTEN)
    reach(Point.CONTROL_CREATE_COMMITTED)
    return reply, True


def read_session(engine: Engine, settings: Settings, account: str, session_id: str) -> Json:
    """One session, whole."""
    with reading(engine) as db:
        view = show_session(db, settings, get_session(db, account, session_id))
    return view.model_dump(mode="json", by_alias=True)


def delete_session(engine: Engine, settings: Settings, caller: Principal, session_id: str) -> None:
    """Remove the record and the workspace; refused while a turn is pending or running. Spending records stay."""
    with writing(engine) as db:
        row = get_session(db, caller.account, session_id)
        check_writer(caller, row.created_by)
        if row.status in _ACTIVE:
            raise FailedPrecondition(
                f"Session {session_id} is {row.status}.",
                hint=f"Cancel it first: `firectl session cancel {session_id}`.",
            )
        if leases.is_leased(db, session_id):
            raise FailedPrecondition(
                f"A process of session {session_id} is still being stopped.",
                hint="Try again in a few seconds.",
            )
        for table in (EventRow, InstructionRow, QuestionRow, AnswerRow, PlanRow, TurnRow):
            db.connection().execute(delete(table).where(col(table.session_id) == session_id))
        forget_session(db, session_id)
        forget_notices(db, session_id)
        db.connection().execute(delete(RequestRow).where(col(RequestRow.scope) == session_name(row)))
        db.connection().execute(delete(SessionRow).where(col(SessionRow.id) == session_id))
    Workspace(settings, session_id).remove()
    discard_deleted(engine, settings, session_id)


def _new_row(db: Session, caller: Principal, body: CreateSession) -> SessionRow:
    moment, ceiling = now(), body.auto_approve
    text = to_rfc3339(moment)
    return SessionRow(
        id=_new_id(db, int(moment.timestamp())),
        slot=(db.exec(select(func.max(SessionRow.slot))).one() or 0) + 1,
        account=caller.account,
        created_by=caller.email,
        created_user=caller.user,
        created_key=caller.key_id,
        instruction=body.instruction,
        scope=body.scope,
        status=Status.PENDING.value,
        create_time=text,
        update_time=text,
        pending_time=text,
        turn=1,
        spend_limit_micros=_limit_micros(caller, body),
        auto_approve_micros=to_micros(ceiling.max_usd) if ceiling else None,
        auto_approve_expires=to_rfc3339(ceiling.expire_time) if ceiling else None,
        auto_approve_by=caller.email if ceiling else None,
        auto_approve_kinds=" ".join(ceiling.kinds) if ceiling else "",
    )


def _limit_micros(caller: Principal, body: CreateSession) -> int | None:
    """What the session may spend: the smaller of what was asked for and the limit of its key."""
    asked = None if body.spend_limit_usd is None else to_micros(body.spend_limit_usd)
    return min((micros for micros in (asked, caller.session_limit_micros) if micros is not None), default=None)


def _new_id(db: Session, seconds: int) -> str:
    while True:
        candidate = f"{seconds}-{secrets.token_hex(2)}"
        if db.get(SessionRow, candidate) is None:
            return candidate
        seconds += 1 if secrets.randbelow(1000) == 0 else 0  # 65,536 IDs a second are enough; never loop for ever


def check_cleanup(engine: Engine, caller: Principal, session_id: str, confirm: bool) -> str:
    """The session's ID, when the caller may clean up after it now.

    Raises FailedPrecondition for a removal while the session is at work.
    """
    with reading(engine) as db:
        row = get_session(db, caller.account, session_id)
    check_writer(caller, row.created_by)
    if confirm and row.status in _ACTIVE:
        raise FailedPrecondition(f"Session {session_id} is {row.status}.", hint="Cancel it first.")
    return row.id
