"""Statements on the driver's cursor keep SQLAlchemy's transactions and errors."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from gateway import statements
from gateway.statements import change, fetch, savepoint
from tests.fixtures.databases import Databases

ALL = text("SELECT a, b FROM t WHERE a > :least ORDER BY a")
PUT = text("INSERT INTO t VALUES (:a, :b)")
ADD = text("UPDATE t SET b = b + :more WHERE a >= :least")


def test_changes_belong_to_the_transaction_and_savepoints_are_undone(tmp_path: Path, databases: Databases) -> None:
    engine = databases.open(tmp_path / "a.db")
    with engine.begin() as db:
        db.execute(text("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER NOT NULL)"))
        assert [change(db, PUT, {"a": a, "b": 0}) for a in (1, 2)] == [1, 1]
    with pytest.raises(ZeroDivisionError), engine.begin() as db:
        assert change(db, ADD, {"more": 5, "least": 1}) / 0
    with engine.connect() as db:
        assert change(db, ADD, {"least": 2, "more": 7}) == 1  # nobody commits
    with engine.begin() as db:
        with pytest.raises(ZeroDivisionError), savepoint(db):
            assert change(db, ADD, {"more": 1, "least": 0}) / 0
        with savepoint(db):
            change(db, ADD, {"more": 3, "least": 2})
    with engine.execution_options(readonly=True).connect() as db:
        assert fetch(db, ALL, {"least": 0}) == [(1, 0), (2, 3)]


def test_the_drivers_errors_are_sqlalchemys_and_a_missing_value_is_ours(tmp_path: Path, databases: Databases) -> None:
    engine = databases.open(tmp_path / "a.db")
    with pytest.raises(DBAPIError, match=r"no such table|does not exist"), engine.begin() as db:
        fetch(db, ALL, {"least": 0})
    with engine.begin() as db:
        db.execute(text("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER NOT NULL)"))
    with pytest.raises(IntegrityError), engine.begin() as db:
        change(db, PUT, {"a": 1, "b": None})
    with pytest.raises((KeyError, ProgrammingError)), engine.begin() as db:
        change(db, PUT, {"a": 1})


def test_postgresql_takes_its_values_by_name() -> None:
    sql, order = statements._compile(ALL, postgresql.dialect())  # pyright: ignore[reportPrivateUsage]
    assert (sql, order) == ("SELECT a, b FROM t WHERE a > %(least)s ORDER BY a", None)
