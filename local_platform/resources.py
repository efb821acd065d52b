"""Generic storage of resources. Callers hold the session and commit; SQLite transactions here are exclusive, so a
read-change-write inside one session is atomic.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request
from sqlmodel import Session, col, select

from local_platform.tables import Resource
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import AlreadyExists, NotFound
from pilotlight.listing import apply_read_mask, list_page, parse_list_params
from pilotlight.names import parse_name

Row = TypeVar("Row", bound=Resource)
Json = dict[str, Any]
COMMON_FIELDS = frozenset({"name", "state", "createTime", "updateTime"})


def insert(db: Session, table: type[Row], name: str, body: Json, state: str) -> Row:
    """Add a resource. Raises AlreadyExists when the name is taken, InvalidArgument when it is malformed."""
    parsed = parse_name(name)
    if db.get(table, name) is not None:
        raise AlreadyExists(f"{name} already exists.", hint="Choose another ID, or use the existing one.")
    row = table(name=name, account=parsed.account, id=parsed.id, state=state, body=body)
    db.add(row)
    db.flush()
    return row


def get(db: Session, table: type[Row], name: str) -> Row:
    """The row. Raises NotFound."""
    row = find(db, table, name)
    if row is None:
        raise NotFound(f"{name[:200]} not found.", hint="List the collection to see what exists.")
    return row


def find(db: Session, table: type[Row], name: str) -> Row | None:
    """The row or None."""
    return db.get(table, name)


def update_body(db: Session, row: Row, changes: Mapping[str, Any], state: str | None = None) -> Row:
    """Merge `changes` into the body (None removes a field), optionally set the state, stamp updateTime."""
    merged = {**row.body, **changes}
    # A new dictionary: SQLAlchemy does not see changes inside a JSON value.
    row.body = {field: value for field, value in merged.items() if value is not None}
    row.state = row.state if state is None else state
    row.update_time = now()
    db.add(row)
    db.flush()
    return row


def delete(db: Session, row: Resource) -> None:
    """Remove the row."""
    db.delete(row)
    db.flush()


def wire(row: Resource) -> Json:
    """The resource as it leaves: name, state and times beside the public body fields."""
    public = {field: value for field, value in row.body.items() if not field.startswith("_")}
    times = {"createTime": to_rfc3339(row.create_time), "updateTime": to_rfc3339(row.update_time)}
    return {"name": row.name, **times, **({"state": row.state} if row.state else {}), **public}


def select_rows(db: Session, table: type[Row], account: str | None = None, *states: str) -> list[Row]:
    """Rows of an account (None or `-`: of all accounts), optionally only those in one of `states`."""
    query = select(table)
    if account not in (None, "-"):
        query = query.where(table.account == account)
    if states:
        query = query.where(col(table.state).in_(states))
    return list(db.exec(query))


def list_resources(
    db: Session, table: type[Row], account: str, request: Request, collection: str, fields: frozenset[str] | None = None
) -> Json:
    """One page of wire resources by the request's list parameters; `fields` is the allow-list beside COMMON_FIELDS."""
    allowed = None if fields is None else fields | COMMON_FIELDS
    rows = [wire(row) for row in select_rows(db, table, account)]
    return list_page(rows, parse_list_params(request.query_params), collection, allowed)


def mask(request: Request, resource: Json) -> Json:
    """Apply the request's readMask."""
    return apply_read_mask(resource, request.query_params.get("readMask") or request.query_params.get("read_mask"))
