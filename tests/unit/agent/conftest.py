from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from agent.store import create_tables
from gateway.tables import create_tables as create_gateway_tables
from pilotlight.database import open_engine
from pilotlight.identity import create_tables as create_identity_tables
from tests.fixtures.desk import Desk, open_desk


def make_engine(folder: Path) -> Engine:
    engine = open_engine(f"sqlite:///{folder / 'control.db'}")
    create_tables(engine)
    create_gateway_tables(engine)
    create_identity_tables(engine)
    return engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A new control database on disk."""
    engine = make_engine(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Sessions without processes; each test makes its own."""
    home = tmp_path_factory.mktemp("desk")
    engine = make_engine(home)
    yield open_desk(engine, home)
    engine.dispose()


@pytest.fixture(scope="module")
def strict_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The same with approvals.distinct_principal."""
    home = tmp_path_factory.mktemp("strict")
    engine = make_engine(home)
    yield open_desk(engine, home, approvals_distinct_principal=True)
    engine.dispose()
