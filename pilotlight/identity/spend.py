"""What a key's sessions spend in a month: the counter that the ledger adds to, and what of it is shown."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import text
from sqlmodel import Session, col, select

from pilotlight.clock import as_utc, now
from pilotlight.identity.principal import Principal
from pilotlight.identity.tables import KeyMonth

# Two first sessions of a month may be created at once: the second finds the counter of the first.
_OPEN = text(
    "INSERT INTO identity_key_month (id, key_id, limit_micros, held_micros) VALUES (:id, :key_id, :limit, 0)"
    " ON CONFLICT (id) DO NOTHING"
)


def month_id(key_id: str, moment: datetime) -> str:
    """ID of the KeyMonth that `moment` falls into; months are those of UTC."""
    return f"{key_id}/{as_utc(moment):%Y-%m}"


def open_month(db: Session, caller: Principal) -> str:
    """The ID of this month's counter of the caller's key, made with the key's limit where it is missing."""
    name = month_id(caller.key_id, now())
    values = {"id": name, "key_id": caller.key_id, "limit": caller.month_limit_micros}
    db.connection().execute(_OPEN, values)
    return name


def used_micros(db: Session, key_ids: Iterable[str]) -> dict[str, int]:
    """What the sessions that each key created this month hold, in micro-dollars; keys without any are left out."""
    names = [month_id(key_id, now()) for key_id in key_ids]
    rows = db.exec(select(KeyMonth).where(col(KeyMonth.id).in_(names))).all()
    return {row.key_id: row.held_micros for row in rows}
