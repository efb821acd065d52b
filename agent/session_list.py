"""Pages of sessions. The database filters, orders and cuts where it can do that exactly, and memory does the rest."""

import json
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Engine, and_, func
from sqlmodel import Session, col, select

from agent import queue, session_query
from agent.session_query import Condition
from agent.store import reading
from agent.tables import QuestionRow, SessionRow
from agent.views import summarize_session, tell_status
from pilotlight.listing import ListParams, list_page, parse_filter
from pilotlight.listing.ordering import Key, Term, parse_order, sort_key
from pilotlight.listing.paging import make_token, read_token, show_page
from pilotlight.listing.tree import paths_of

Json = dict[str, Any]

LIST_FIELDS = frozenset(
    {
        "name",
        "sessionId",
        "instruction",
        "scope",
        "status",
        "statusInfo",
        "phase",
        "createTime",
        "updateTime",
        "createdBy",
        "turn",
    }
)
_AT_ONCE = 500
_OPEN = and_(
    col(QuestionRow.session_id) == col(SessionRow.id), col(QuestionRow.question_id) == col(SessionRow.question_id)
)
"""The open question of a session."""


def list_sessions(engine: Engine, account: str, params: ListParams) -> Json:
    """A page of the account's sessions, newest first unless ordered otherwise.

    Raises InvalidArgument for a filter, an order or a page token that is none.
    """
    if not params.order_by:
        params = params._replace(order_by="createTime desc")
    terms = parse_order(params.order_by, LIST_FIELDS)
    condition, exact = session_query.split_filter(parse_filter(params.filter, LIST_FIELDS))
    condition = and_(col(SessionRow.account) == account, condition)
    last = read_token(params, terms)
    with reading(engine) as db:
        if exact and (page := _page_in_database(db, condition, params, terms, last)) is not None:
            return page
        return _page_in_memory(db, condition, params, terms)


def _page_in_database(
    db: Session, condition: Condition, params: ListParams, terms: list[Term], last: Key | None
) -> Json | None:
    """None where only memory can order."""
    binary = "C" if db.get_bind().dialect.name == "postgresql" else None
    order = session_query.order_by(terms, binary)
    after = session_query.follows(last, terms, binary) if last and order else None
    if order is None or (last and after is None):
        return None
    query = select(SessionRow).where(condition, *([] if after is None else [after]))
    rows = db.exec(query.order_by(*order).limit(params.page_size + 1)).all()
    total = db.exec(select(func.count()).select_from(SessionRow).where(condition)).one()
    page = _summarize(db, rows[: params.page_size])
    token = make_token(sort_key(page[-1], terms), params) if page and len(rows) > len(page) else ""
    return show_page(page, params, "sessions", token, total)


def _page_in_memory(db: Session, condition: Condition, params: ListParams, terms: list[Term]) -> Json:
    """All that may match, but only the fields that the filter and the order mention; then the page's rows whole."""
    fields = paths_of(parse_filter(params.filter, LIST_FIELDS)) | {term.path for term in terms}
    lean = _read_fields(db, condition, {path.split(".")[0] for path in fields} | {"name"})
    chosen = list_page(lean, params._replace(read_mask=""), "sessions", LIST_FIELDS)
    names = [str(item["name"]).rsplit("/", 1)[-1] for item in chosen["sessions"]]
    found = {row.id: row for row in db.exec(select(SessionRow).where(col(SessionRow.id).in_(names))).all()}
    page = _summarize(db, [found[name] for name in names])
    return show_page(page, params, "sessions", chosen["nextPageToken"], chosen["totalSize"])


def _read_fields(db: Session, condition: Condition, fields: set[str]) -> list[Json]:
    columns = {field: column for field in sorted(fields) if (column := session_query.column_of(field)) is not None}
    query = db.connection().execute(select(*columns.values()).where(condition))  # pyright: ignore[reportCallIssue, reportArgumentType, reportUnknownVariableType]
    found = [dict(zip(columns, cast("Sequence[Any]", row), strict=True)) for row in query]
    if "statusInfo" in fields:
        told = _read_status_infos(db, condition)
        found = [item | {"statusInfo": told[item["name"]]} for item in found]
    return found


def _read_status_infos(db: Session, condition: Condition) -> dict[str, str]:
    """`statusInfo` by name, of sessions of which nothing else is wanted: a whole view of each would take seconds."""
    name, positions = session_query.column_of("name"), queue.read_positions(db)
    columns = (name, SessionRow.id, SessionRow.narrative, QuestionRow.document)
    query = select(*columns).outerjoin(QuestionRow, _OPEN).where(condition)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return {
        name: tell_status(json.loads(document)["text"] if document else None, positions.get(identity), narrative)
        for name, identity, narrative, document in db.connection().execute(query)
    }


def _summarize(db: Session, rows: Sequence[SessionRow]) -> list[Json]:
    questions = _load_questions(db, [row.id for row in rows if row.question_id is not None])
    positions = queue.read_positions(db)
    shown = [summarize_session(db, row, positions).model_dump(mode="json", by_alias=True) for row in rows]
    del questions
    return shown


def _load_questions(db: Session, names: list[str]) -> list[QuestionRow]:
    """The open questions of these sessions; while they are held, the database session has them at hand."""
    found: list[QuestionRow] = []
    for start in range(0, len(names), _AT_ONCE):
        query = (
            select(QuestionRow).join(SessionRow, _OPEN).where(col(SessionRow.id).in_(names[start : start + _AT_ONCE]))
        )
        found += db.exec(query).all()
    return found
