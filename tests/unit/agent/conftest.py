from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.fixtures.databases import Databases, create_all_tables
from tests.fixtures.desk import Desk, open_desk


def make_engine(folder: Path, databases: Databases) -> Engine:
    engine = databases.open(folder / "control.db")
    create_all_tables(engine)
    return engine


@pytest.fixture
def engine(tmp_path: Path, databases: Databases) -> Engine:
    """A new control database on disk."""
    return make_engine(tmp_path, databases)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases) -> Desk:
    """Sessions without processes; each test makes its own."""
    home = tmp_path_factory.mktemp("desk")
    return open_desk(make_engine(home, module_databases), home)


@pytest.fixture(scope="module")
def strict_desk(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases) -> Desk:
    """The same with approvals.distinct_principal."""
    home = tmp_path_factory.mktemp("strict")
    return open_desk(make_engine(home, module_databases), home, approvals_distinct_principal=True)
