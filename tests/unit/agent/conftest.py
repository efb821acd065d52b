from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from agent.store import create_tables
from gateway.tables import create_tables as create_gateway_tables
from pilotlight.database import open_engine
from pilotlight.identity import create_tables as create_identity_tables


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A new control database on disk."""
    engine = open_engine(f"sqlite:///{tmp_path / 'control.db'}")
    create_tables(engine)
    create_gateway_tables(engine)
    create_identity_tables(engine)
    yield engine
    engine.dispose()
