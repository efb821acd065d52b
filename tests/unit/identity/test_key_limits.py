"""Spend limits of keys: set at creation, shown, fixed, and not shaken off by making another key."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import Session

from pilotlight.clock import now
from pilotlight.errors import PilotlightError
from pilotlight.identity import authenticate, bootstrap, identity_router, open_month
from pilotlight.identity.spend import month_id
from pilotlight.identity.tables import KeyMonth, User
from tests.fixtures.databases import Databases

USERS = "/v1/accounts/acme/users"
LIMITS = {"monthlySpendLimitUsd": "20", "sessionSpendLimitUsd": "5.5"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture(scope="module")
def engine(home: Path, module_databases: Databases) -> Engine:
    engine = module_databases.open(home / "identity.db")
    bootstrap(engine, "acme", home / "admin.key")
    return engine


@pytest.fixture(scope="module")
def admin(engine: Engine, home: Path) -> Iterator[TestClient]:
    with as_user(engine, (home / "admin.key").read_text()) as client:
        yield client


def as_user(engine: Engine, key: str) -> TestClient:
    app = FastAPI()
    app.include_router(identity_router(engine))

    async def answer(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, PilotlightError)
        return JSONResponse(error.to_body(), error.http_code)

    app.add_exception_handler(PilotlightError, answer)
    return TestClient(app, headers={"Authorization": f"Bearer {key}"})


def mint(client: TestClient, user: str = "admin", **fields: Any) -> dict[str, Any]:
    reply = client.post(f"{USERS}/{user}/apiKeys", json={"apiKey": fields})
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_limits_are_set_at_creation_and_shown_with_what_is_used(engine: Engine, admin: TestClient) -> None:
    made = mint(admin, **LIMITS)
    shown = {"monthlySpendLimitUsd": "20.000000", "sessionSpendLimitUsd": "5.500000"}
    assert shown.items() <= made.items()
    caller = authenticate(engine, made["key"])
    assert (caller.month_limit_micros, caller.session_limit_micros) == (20_000_000, 5_500_000)
    with Session(engine) as db:
        row = db.get_one(KeyMonth, open_month(db, caller))
        row.held_micros = 1_250_000
        db.add(row)
        db.commit()
        assert (row.id, row.limit_micros) == (month_id(made["keyId"], now()), 20_000_000)
    (listed,) = [key for key in admin.get(f"{USERS}/admin/apiKeys").json()["apiKeys"] if key["keyId"] == made["keyId"]]
    assert (shown | {"usedThisMonthUsd": "1.250000"}).items() <= listed.items()
    with as_user(engine, made["key"]) as client:
        assert (shown | {"usedThisMonthUsd": "1.250000"}).items() <= client.get("/v1/whoami").json().items()


def test_a_new_month_starts_at_zero(engine: Engine, admin: TestClient) -> None:
    caller = authenticate(engine, mint(admin, **LIMITS)["key"])
    last = now().replace(day=1) - timedelta(days=1)
    with Session(engine) as db:
        db.add(KeyMonth(id=month_id(caller.key_id, last), key_id=caller.key_id, held_micros=9))
        db.commit()
    (listed,) = [key for key in admin.get(f"{USERS}/admin/apiKeys").json()["apiKeys"] if key["keyId"] == caller.key_id]
    assert listed["usedThisMonthUsd"] == "0.000000"


def test_a_key_without_limits_has_none(engine: Engine, admin: TestClient) -> None:
    made = mint(admin)
    assert not LIMITS.keys() & made.keys()
    assert not authenticate(engine, made["key"]).spend_limited


@pytest.mark.parametrize("amount", ["-1", "1e9", "0.0000001", "NaN", "Infinity", "much", [], True])
def test_amounts_are_dollars(admin: TestClient, amount: Any) -> None:
    reply = admin.post(f"{USERS}/admin/apiKeys", json={"apiKey": {"monthlySpendLimitUsd": amount}})
    assert reply.status_code in (400, 422)


@pytest.mark.parametrize("limits", [{name: value} for name, value in LIMITS.items()])
@pytest.mark.parametrize("role", ["user", "admin"])
def test_a_limited_key_makes_no_other_key(engine: Engine, admin: TestClient, limits: dict[str, str], role: str) -> None:
    user = f"{role}-{'m' if 'monthlySpendLimitUsd' in limits else 's'}"
    assert admin.post(USERS, params={"userId": user}, json={"role": role}).status_code == 200
    with as_user(engine, mint(admin, user, **limits)["key"]) as client:
        refused = client.post(f"{USERS}/{user}/apiKeys", json={"apiKey": limits})
        assert refused.status_code == 403
        assert "ask an admin" in refused.json()["error"]["message"]
        assert client.get(f"{USERS}/{user}/apiKeys").status_code == 200


def test_nothing_changes_the_limits_of_a_key(engine: Engine, admin: TestClient) -> None:
    made = mint(admin, **LIMITS)
    for verb in ("PATCH", "PUT", "POST"):
        path = f"{USERS}/admin/apiKeys/{made['keyId']}"
        assert admin.request(verb, path, json={"monthlySpendLimitUsd": "900"}).status_code in (404, 405)
    assert authenticate(engine, made["key"]).month_limit_micros == 20_000_000


def test_only_an_admin_mints_keys_of_service_accounts_and_the_preset_is_a_name(
    engine: Engine, admin: TestClient
) -> None:
    body = {"role": "user", "serviceAccount": True, "permissionPreset": "pilot"}
    assert admin.post(USERS, params={"userId": "sa"}, json=body).status_code == 200
    for role in ("user", "contributor", "inference-user"):
        assert admin.post(USERS, params={"userId": f"p-{role}"}, json={"role": role}).status_code == 200
        with as_user(engine, mint(admin, f"p-{role}")["key"]) as client:
            assert client.post(f"{USERS}/sa/apiKeys", json={"apiKey": {}}).status_code == 403
    made = mint(admin, "sa", **LIMITS)
    with as_user(engine, made["key"]) as program:
        assert program.post(f"{USERS}/sa/apiKeys", json={"apiKey": {}}).status_code == 403
        assert program.get("/v1/whoami").json()["permissionPreset"] == "pilot"
    assert authenticate(engine, made["key"]).session_limit_micros == 5_500_000
    with Session(engine) as db:
        user = db.get_one(User, "accounts/acme/users/sa")
    assert user.permission_preset == "pilot"
    assert not [name for name in User.model_fields if "method" in name or "rule" in name]
