"""An instance with canaries in every place where secrets live: environment, settings, database, key files."""

import hashlib
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.up import Instance, free_port
from pilotlight.database import open_engine
from pilotlight.identity import bootstrap
from tests.fixtures.system import System

ENVIRONMENT = {
    "CANARY": f"canary-env-{secrets.token_hex(12)}",
    "AWS_SECRET_ACCESS_KEY": f"canary/aws+{secrets.token_hex(12)}",
    "MODEL_PROVIDER_API_KEY": f"sk-ant-api03-{secrets.token_hex(16)}",
    "SMTP_URL": f"smtp://robot:{secrets.token_hex(12)}@mail.invalid",
}
PLANTED = {name: f"canary-{name}-{secrets.token_hex(12)}" for name in ("grant", "rules", "approver", "effect")}


class PlantedInstance(Instance):
    """Both servers, with secrets in their environment."""

    planted: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """As ever, and the canaries."""
        return super().environment | self.planted


class Planted(NamedTuple):
    """A running system. `anywhere` must be found nowhere, `in_databases` only in the databases."""

    system: System
    root: Path
    """All that is written is below it."""
    anywhere: dict[str, str]
    in_databases: dict[str, str]


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    root = tmp_path_factory.mktemp("s")
    instance = PlantedInstance(root / "home", free_port(), free_port())
    upstream = _plant_platform_key(root / "home" / "platform")
    instance.planted = ENVIRONMENT | {"PILOTLIGHT_PLATFORM_KEY": upstream, "PILOTLIGHT_PLATFORM_CALIBRATE": "false"}
    with instance:
        system = System(instance, root)
        (root / "captured").mkdir()
        anywhere = ENVIRONMENT | {
            "upstream key": upstream,
            "admin key": instance.key_path.read_text().strip(),
            "signing key": (root / "home" / "platform" / "signing.key").read_text().strip(),
        }
        _plant_rows(root / "home" / "control.db")
        digests = {f"digest of {name}": hashlib.sha256(anywhere[name].encode()).hexdigest() for name in ("admin key",)}
        yield Planted(system, root, anywhere, PLANTED | digests)


def _plant_platform_key(home: Path) -> str:
    """The platform's admin key, made before its first start so that it can be handed over by the settings."""
    engine = open_engine(f"sqlite:///{home / 'platform.db'}")
    key = bootstrap(engine, "local", home / "admin.key")
    engine.dispose()
    assert key
    return key


def _plant_rows(database: Path) -> None:
    """A grant and an effect of another session."""
    with sqlite3.connect(database) as db:
        grant = {
            "id": "g-canary", "session": "1-0000", "plan_hash": "0" * 64, "gate": "plan_approval", "spec": "x",
            "method": "CreateSupervisedFineTuningJob", "rules": f'{{"body.x": "{PLANTED["rules"]}"}}', "max_calls": 1,
            "max_cost_micros": 1, "phase": "train", "text": PLANTED["grant"], "approver": PLANTED["approver"],
            "create_time": "2026-01-01T00:00:00.000000Z", "expire_time": "2100-01-01T00:00:00.000000Z", "calls": 0,
            "reserved_micros": 0, "settled_micros": 0, "prices": "",
        }  # fmt: skip
        effect = {
            "scope": "session:1-0000", "key": "k", "digest": "0" * 64, "method": "CreateDataset", "state": "done",
            "code": 200, "response": PLANTED["effect"], "create_time": "2026-01-01T00:00:00.000000Z",
        }  # fmt: skip
        for table, row in (("gateway_grants", grant), ("gateway_effects", effect)):
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))
    db.close()
