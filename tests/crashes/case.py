"""What the checker looks at, as plain data: both databases, the platform's own log, the births, the client's log."""

import json
import sqlite3
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.crashes.campaign import Evidence
from tests.crashes.person import Log
from tests.crashes.platform import LOG

Json = dict[str, Any]


@dataclass
class Case:
    """All facts of a campaign. Times of births and of the client are seconds since the epoch."""

    last_kill: float
    tables: dict[str, list[Json]] = field(default_factory=dict[str, list[Json]])
    """Rows of the control database, as they are stored."""
    effects: list[Json] = field(default_factory=list[Json])
    """What the platform applied, in order: what (create, state, delete), kind, name, state, body."""
    trainers: list[Json] = field(default_factory=list[Json])
    """What the trainers wrote down, with the name of their `job`."""
    births: list[Json] = field(default_factory=list[Json])
    log: Log = field(default_factory=Log)
    left: list[str] = field(default_factory=list[str])
    """Crash points that were asked for and never reached."""
    crowding: float = 1.0
    """How many processes shared a core: what takes a minute alone takes longer in a crowd."""
    chain: str = ""
    """What is wrong with the audit's hash chain."""

    def rows(self, table: str, session: str) -> list[Json]:
        """The rows of one session."""
        column = {"sessions": "id"}.get(table, "session" if table.startswith("gateway_") else "session_id")
        return [row for row in self.tables[table] if row[column] == session]

    def events(self, session: str) -> list[Json]:
        """In order of seq, with their payload parsed."""
        found = sorted(self.rows("events", session), key=lambda row: row["seq"])
        return [row | {"payload": json.loads(row["payload"])} for row in found]


def load_case(evidence: Evidence) -> Case:
    """Read what an ended campaign left behind."""
    case = Case(evidence.last_kill, evidence.tables, births=evidence.births, log=evidence.log, left=evidence.left)
    case.chain, case.crowding = evidence.chain, evidence.crowding
    platform = evidence.folder / "home" / "platform"
    with sqlite3.connect(platform / "platform.db") as db:
        db.row_factory = sqlite3.Row
        rows = [dict(row) for row in db.execute(f"SELECT * FROM {LOG} ORDER BY id")]
    case.effects = [row | {"body": json.loads(row["body"])} for row in rows]
    case.trainers = [line for path in sorted(platform.glob("jobs/*/*/trainer.jsonl")) for line in _lines(path)]
    return case


def moment_of(text: str) -> float:
    """RFC 3339 to seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _lines(path: Path) -> list[Json]:
    return [json.loads(line) | {"job": path.parent.name} for line in path.read_text().splitlines()]
