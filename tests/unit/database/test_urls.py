"""What may stand in PILOTLIGHT_DATABASE_URL, and what is said when it does not work."""

import subprocess
import sys

import pytest

from pilotlight.database import DatabaseUnavailable, open_engine
from pilotlight.errors import FailedPrecondition, Unavailable
from pilotlight.schema import migrate

NOBODY = "postgresql://ann:hunter2hunter2@127.0.0.1:1/pilotlight"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_spelling_means_psycopg_3(scheme: str) -> None:
    engine = open_engine(f"{scheme}://ann@db.example:5433/pilotlight?application_name=mine&sslmode=require")
    assert (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg")
    assert (engine.url.host, engine.url.port, engine.url.database) == ("db.example", 5433, "pilotlight")
    assert engine.url.query["application_name"] == "mine"
    assert engine.url.query["sslmode"] == "require"


@pytest.mark.parametrize(("url", "words"), [("mysql://x/y", "mysql"), ("control.db", "not a URL")])
def test_other_databases_are_refused(url: str, words: str) -> None:
    with pytest.raises(FailedPrecondition, match=words):
        open_engine(url)


def test_a_missing_driver_names_the_extra() -> None:
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pilotlight.database import open_engine\n"
        "open_engine('sqlite:///x/y.db')\n"
        "open_engine('postgresql://x')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd="/tmp")
    assert done.returncode == 1
    assert "FailedPrecondition" in done.stderr
    assert "pip install 'pilotlight[postgres]'" in done.stderr


def test_a_server_that_is_not_there_is_named_but_no_password() -> None:
    engine = open_engine(NOBODY)
    with pytest.raises(DatabaseUnavailable) as refused, engine.connect():
        pass
    assert "127.0.0.1" not in str(refused.value)  # clients are told no more than that
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1.*port 1 failed.*PILOTLIGHT_DATABASE_URL") as told:
        migrate(engine)
    assert "hunter2" not in str(told.value)
