"""What the checker looks at, as plain data: the platform's log, what the person did, and the control database."""

import hashlib
import json
import sqlite3
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway import audit
from pilotlight.database import open_engine
from tests.adversary.campaign import Evidence
from tests.adversary.person import Approval
from tests.adversary.platform import Resource, Seen
from tests.adversary.process import ACCOUNT

Json = dict[str, Any]


@dataclass
class Case:
    """All facts of a campaign. Rows are dicts with the names of their columns; `detail` of audit rows is parsed."""

    end: float
    """When the campaign ended, in seconds since the epoch."""
    account: str = ACCOUNT
    log: list[Seen] = field(default_factory=list[Seen])
    resources: dict[str, Resource] = field(default_factory=dict[str, Resource])
    approvals: list[Approval] = field(default_factory=list[Approval])
    sessions: dict[str, Json] = field(default_factory=dict[str, Json])
    """Session -> the body it was created with."""
    plans: dict[tuple[str, str], Json] = field(default_factory=dict[tuple[str, str], Json])
    """(session, plan hash) -> document, for what a ceiling approved without a person."""
    audit: list[Json] = field(default_factory=list[Json])
    grants: list[Json] = field(default_factory=list[Json])
    limits: list[Json] = field(default_factory=list[Json])
    reservations: list[Json] = field(default_factory=list[Json])
    outages: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """When the control process was away: nobody ends what runs then."""
    chain: str = ""
    """What is wrong with the audit's hash chain."""


def load_case(evidence: Evidence) -> Case:
    """Read the database of an ended campaign."""
    engine = open_engine(f"sqlite:///{evidence.database}")
    report = audit.verify(engine)
    engine.dispose()
    case = Case(evidence.ended, log=evidence.platform.log, resources=evidence.platform.resources)
    case.approvals, case.sessions = evidence.person.approvals, evidence.person.sessions
    case.chain, case.outages = report.problem, evidence.outages
    with sqlite3.connect(evidence.database) as db:
        db.row_factory = sqlite3.Row
        case.audit = [row | {"detail": json.loads(row["detail"])} for row in _rows(db, "gateway_audit")]
        case.grants, case.limits = _rows(db, "gateway_grants"), _rows(db, "gateway_limits")
        case.reservations = _rows(db, "gateway_reservations")
        case.plans = {(row["session_id"], row["plan_hash"]): json.loads(row["document"]) for row in _rows(db, "plans")}
    return case


def digest_of(seen: Seen) -> str:
    """What the audit calls the digest of a call, computed from what reached the platform."""
    body = None if isinstance(seen.body, int) else seen.body
    asked = [seen.verb, seen.path, [list(pair) for pair in seen.query], body]
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def moment_of(row: Json) -> float:
    """The time of an audit row, in seconds since the epoch."""
    return datetime.fromisoformat(row["time"].replace("Z", "+00:00")).timestamp()


def _rows(db: sqlite3.Connection, table: str) -> list[Json]:
    return [dict(row) for row in db.execute(f"SELECT * FROM {table} ORDER BY rowid")]
