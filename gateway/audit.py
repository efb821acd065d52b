"""The append-only record of verdicts, a hash chain: any edit, removal or reordering of a row is found by `verify`.

Cutting off the end is only found against a head that was kept elsewhere (`head`, `export_head`).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, text

from gateway.statements import change, fetch
from pilotlight.clock import now, to_rfc3339
from pilotlight.plan import canonical_json

GENESIS = "0" * 64
_LAST = text("SELECT seq, hash FROM gateway_audit ORDER BY seq DESC LIMIT 1")
_INSERT = text(
    "INSERT INTO gateway_audit (seq, time, principal, method, resource, verdict, rule, detail, previous, hash)"
    " VALUES (:seq, :time, :principal, :method, :resource, :verdict, :rule, :detail, :previous, :hash)"
)
_ALL = text(
    "SELECT seq, time, principal, method, resource, verdict, rule, detail, previous, hash"
    " FROM gateway_audit ORDER BY seq"
).execution_options(stream_results=True)


class Head(NamedTuple):
    """The end of the chain."""

    seq: int
    hash: str


@dataclass(frozen=True)
class AuditReport:
    """`first_bad` is the lowest seq at which the chain breaks, None when it holds."""

    rows: int
    head: Head
    first_bad: int | None = None
    problem: str = ""

    @property
    def intact(self) -> bool:
        """Whether every row is as it was written, with none missing."""
        return self.first_bad is None


def append(db: Connection, **fields: Any) -> Head:
    """Add one row in the caller's transaction; fields: principal, method, resource, verdict, rule, detail (a dict)."""
    last = head(db)
    row = fields | {"time": to_rfc3339(now()), "detail": canonical_json(fields["detail"]), "seq": (seq := last.seq + 1)}
    digest = _digest(last.hash, row)
    change(db, _INSERT, row | {"previous": last.hash, "hash": digest})
    return Head(seq, digest)


def head(db: Connection) -> Head:
    """The last row's number and hash."""
    rows = fetch(db, _LAST)
    return Head(*rows[0]) if rows else Head(0, GENESIS)


def verify(engine: Engine, anchor: Head | None = None) -> AuditReport:
    """Recompute the whole chain; with `anchor` (an exported head) a cut-off end is found too."""
    last, rows = Head(0, GENESIS), 0
    with engine.execution_options(readonly=True).connect() as db, db.execute(_ALL) as found:
        for row in found.mappings():
            rows += 1
            if row["seq"] != last.seq + 1:
                return AuditReport(rows, last, last.seq + 1, f"row {last.seq + 1} is missing")
            if row["previous"] != last.hash or row["hash"] != _digest(last.hash, dict(row)):
                return AuditReport(rows, last, row["seq"], f"row {row['seq']} is not what was written")
            last = Head(row["seq"], row["hash"])
            if anchor and anchor.seq == last.seq and anchor.hash != last.hash:
                return AuditReport(rows, last, last.seq, f"row {last.seq} is not the exported head")
    if anchor and anchor.seq > last.seq:
        return AuditReport(rows, last, last.seq + 1, f"rows after {last.seq} are missing: {anchor.seq} was exported")
    return AuditReport(rows, last)


def export_head(engine: Engine, path: Path) -> Head:
    """Write the head to `path` (atomically): what `verify` takes as its anchor."""
    with engine.execution_options(readonly=True).connect() as db:
        current = head(db)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(current._asdict()) + "\n", "utf-8")
    part.replace(path)
    return current


def import_head(path: Path) -> Head:
    """Read what `export_head` wrote."""
    return Head(**json.loads(path.read_text("utf-8")))


def _digest(previous: str, row: dict[str, Any]) -> str:
    body = {key: value for key, value in row.items() if key not in ("previous", "hash")}
    return hashlib.sha256((previous + canonical_json(body)).encode()).hexdigest()
