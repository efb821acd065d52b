"""Rows to wire: a session as clients see it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session, col, select

from agent import queue, spending
from agent.files import summarize_files
from agent.states import Status
from agent.tables import EventRow, PlanRow, QuestionRow, SessionRow
from agent.wire import AutoApproveView, EventView, PlanView, SessionView
from pilotlight.clock import parse_rfc3339
from pilotlight.money import from_micros, usd
from pilotlight.plan import Phase, Plan
from pilotlight.question import Question
from pilotlight.settings import Settings


def show_session(db: Session, settings: Settings, row: SessionRow) -> SessionView:
    """Everything about one session."""
    view = summarize_session(db, row)
    view.plan = _show_plan(db, row)
    view.cost = spending.read_cost(db, row.id)
    view.planner_allowance = spending.read_allowance(db, row.id)
    view.artifacts = summarize_files(db, settings, row.id)
    return view


def summarize_session(db: Session, row: SessionRow, positions: Mapping[str, int] | None = None) -> SessionView:
    """What lists show: all but plan, cost and artifacts. `positions` are those of the queue, read when None."""
    question, position = find_question(db, row), None
    if row.status == Status.PENDING.value:
        position = (queue.read_positions(db) if positions is None else positions).get(row.id)
    return SessionView(
        name=session_name(row),
        session_id=row.id,
        instruction=row.instruction,
        scope=row.scope,
        status=Status(row.status),
        status_info=tell_status(question.text if question else None, position, row.narrative),
        queue_position=position,
        phase=Phase(row.phase) if row.phase else None,
        create_time=row.create_time,
        update_time=row.update_time,
        created_by=row.created_by,
        created_key=row.created_key,
        etag=etag_of(row),
        turn=row.turn,
        last_seq=str(row.last_seq),
        spend_limit_usd=None if row.spend_limit_micros is None else from_micros(row.spend_limit_micros),
        auto_approve=auto_approve_of(row),
        question=question,
    )


def show_event(row: SessionRow, event: EventRow) -> EventView:
    """One event."""
    name = session_name(row)
    return EventView(
        name=f"{name}/events/{event.seq}",
        session=name,
        seq=str(event.seq),
        type=event.type,
        create_time=event.time,
        turn=event.turn,
        epoch=event.epoch,
        payload=json.loads(event.payload),
    )


def read_events(db: Session, session_id: str, after: int, start_time: str | None, limit: int) -> Sequence[EventRow]:
    """Events with seq > `after` and, with `start_time`, not older than it; in order, at most `limit`."""
    query = select(EventRow).where(EventRow.session_id == session_id, EventRow.seq > after)
    if start_time is not None:
        query = query.where(EventRow.time >= start_time)
    return db.exec(query.order_by(col(EventRow.seq)).limit(limit)).all()


def session_name(row: SessionRow) -> str:
    """`accounts/<account>/sessions/<id>`."""
    return f"accounts/{row.account}/sessions/{row.id}"


def etag_of(row: SessionRow) -> str:
    """Changes with every change of the session but plain events."""
    return f"{row.id}.{row.version}"


def auto_approve_of(row: SessionRow) -> AutoApproveView | None:
    """The ceiling set when the session was created."""
    if row.auto_approve_micros is None or row.auto_approve_expires is None:
        return None
    return AutoApproveView.model_validate(
        {
            "max_usd": from_micros(row.auto_approve_micros),
            "expire_time": parse_rfc3339(row.auto_approve_expires),
            "kinds": row.auto_approve_kinds.split(),
            "set_by": row.auto_approve_by or "",
        }
    )


def find_question(db: Session, row: SessionRow) -> Question | None:
    """The open question of a waiting session."""
    if row.question_id is None:
        return None
    stored = db.get(QuestionRow, (row.id, row.question_id))
    return Question.model_validate_json(stored.document) if stored else None


def tell_status(question: str | None, position: int | None, narrative: str) -> str:
    """What `statusInfo` says: the open question, else the place in the queue, else what the session does."""
    return _queued(position) or narrative if question is None else question


def _queued(position: int | None) -> str:
    return f"Waiting for a free place: position {position} in the queue." if position else ""


def _show_plan(db: Session, row: SessionRow) -> PlanView | None:
    stored = db.get(PlanRow, (row.id, row.plan_hash)) if row.plan_hash else None
    if stored is None:
        return None
    document: dict[str, Any] = json.loads(stored.document)
    cost = Plan.model_validate(document).cost
    return PlanView(
        plan_hash=stored.plan_hash,
        create_time=stored.time,
        approved_by=stored.approved_by,
        approved_time=stored.approved_time,
        low_usd=usd(cost.total("low")),
        expected_usd=usd(cost.total("expected")),
        high_usd=usd(cost.total("high")),
        wall_seconds=cost.wall_seconds,
        document=document,
    )
