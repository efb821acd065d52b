"""Any edit, removal or reordering of the audit is found; cutting off its end is found against an exported head."""

import hashlib
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

from gateway import audit
from gateway.tables import AuditRow, create_tables
from pilotlight.plan import canonical_json
from tests.fixtures.databases import Databases

ROWS = 12


@pytest.fixture
def engine(tmp_path: Path, databases: Databases) -> Engine:
    engine = databases.open(tmp_path / "control.db")
    create_tables(engine)
    for number in range(ROWS):
        with engine.begin() as db:
            audit.append(
                db, principal="session:s1", method="GetModel", resource=f"accounts/acme/models/m{number}",
                verdict="allowed", rule="allowed", detail={"n": number},
            )  # fmt: skip
    return engine


def tamper(engine: Engine, *statements: str) -> audit.AuditReport:
    """What somebody with the file can do: the triggers go first."""
    with engine.begin() as db:
        for act in ("update", "delete"):
            table = " ON gateway_audit" if engine.dialect.name == "postgresql" else ""
            db.execute(text(f"DROP TRIGGER gateway_audit_no_{act}{table}"))
        for statement in statements:
            db.execute(text(statement))
    return audit.verify(engine)


def test_an_untouched_chain_holds(engine: Engine) -> None:
    report = audit.verify(engine)
    assert (report.intact, report.rows, report.head.seq) == (True, ROWS, ROWS)


def test_the_table_is_append_only(engine: Engine) -> None:
    for statement in ("UPDATE gateway_audit SET verdict = 'denied'", "DELETE FROM gateway_audit WHERE seq = 3"):
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as db:
            db.execute(text(statement))


@pytest.mark.parametrize("column", [name for name in AuditRow.model_fields if name != "seq"])
def test_an_edit_of_any_column_is_found(engine: Engine, column: str) -> None:
    report = tamper(engine, f"UPDATE gateway_audit SET {column} = 'x' || {column} WHERE seq = 5")
    assert report.first_bad == 5


def test_a_forged_row_with_a_fitting_hash_breaks_the_next(engine: Engine) -> None:
    with engine.connect() as db:
        row = dict(db.execute(text("SELECT * FROM gateway_audit WHERE seq = 5")).mappings().one())
    forged = row | {"verdict": "denied"}
    body = {name: value for name, value in forged.items() if name not in ("previous", "hash")}
    digest = hashlib.sha256((row["previous"] + canonical_json(body)).encode()).hexdigest()
    report = tamper(
        engine,
        f"UPDATE gateway_audit SET verdict = 'denied', hash = '{digest}' WHERE seq = 5",
        f"UPDATE gateway_audit SET previous = '{digest}' WHERE seq = 6",
    )
    assert report.first_bad == 6


@pytest.mark.parametrize("seq", [1, 6, ROWS - 1])
def test_a_removed_row_is_found(engine: Engine, seq: int) -> None:
    assert tamper(engine, f"DELETE FROM gateway_audit WHERE seq = {seq}").first_bad == seq


def test_removing_and_renumbering_is_found(engine: Engine) -> None:
    moves = [f"UPDATE gateway_audit SET seq = {seq - 1} WHERE seq = {seq}" for seq in range(5, ROWS + 1)]
    assert tamper(engine, "DELETE FROM gateway_audit WHERE seq = 4", *moves).first_bad == 4


def test_swapped_rows_are_found(engine: Engine) -> None:
    swap = [f"UPDATE gateway_audit SET seq = {new} WHERE seq = {old}" for old, new in ((3, 99), (4, 3), (99, 4))]
    assert tamper(engine, *swap).first_bad == 3


def test_an_inserted_row_is_found(engine: Engine) -> None:
    columns = "time, principal, method, resource, verdict, rule, detail, previous, hash"
    statement = f"INSERT INTO gateway_audit SELECT {ROWS + 1}, {columns} FROM gateway_audit WHERE seq = {ROWS}"
    assert tamper(engine, statement).first_bad == ROWS + 1


def test_a_cut_off_end_is_found_against_the_exported_head(engine: Engine, tmp_path: Path) -> None:
    exported = audit.export_head(engine, tmp_path / "audit.head")
    assert audit.verify(engine, exported).intact
    assert tamper(engine, f"DELETE FROM gateway_audit WHERE seq > {ROWS - 2}").intact
    report = audit.verify(engine, audit.import_head(tmp_path / "audit.head"))
    assert report.first_bad == ROWS - 1


def test_a_rewritten_chain_is_found_against_the_exported_head(engine: Engine, tmp_path: Path) -> None:
    exported = audit.export_head(engine, tmp_path / "audit.head")
    tamper(engine, "DELETE FROM gateway_audit")
    for number in range(ROWS):
        with engine.begin() as db:
            audit.append(
                db, principal="session:s1", method="GetModel", resource=f"clean{number}", verdict="allowed",
                rule="allowed", detail={},
            )  # fmt: skip
    assert audit.verify(engine).intact
    assert audit.verify(engine, exported).first_bad == ROWS
