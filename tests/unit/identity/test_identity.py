"""Accounts, users, keys and roles over a real database and a real ASGI app."""

import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from sqlmodel import Session, select

from pilotlight.errors import PermissionDenied, PilotlightError, Unauthenticated
from pilotlight.identity import Principal, Role, authenticate, bootstrap, check_writer, identity_router
from pilotlight.identity.tables import ApiKey
from pilotlight.keys import mint_key
from tests.fixtures.databases import Databases

USERS = "/v1/accounts/acme/users"


@pytest.fixture
def engine(tmp_path: Path, databases: Databases) -> Engine:
    return databases.open(tmp_path / "identity.db")


@pytest.fixture
def key_file(engine: Engine, tmp_path: Path) -> Path:
    path = tmp_path / "home" / "admin.key"
    bootstrap(engine, "acme", path)
    return path


@pytest.fixture
def admin(engine: Engine, key_file: Path) -> Iterator[TestClient]:
    with make_client(engine, key_file.read_text()) as client:
        yield client


def make_client(engine: Engine, key: str) -> TestClient:
    app = FastAPI()
    app.include_router(identity_router(engine))

    async def answer(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, PilotlightError)
        return JSONResponse(error.to_body(), error.http_code)

    app.add_exception_handler(PilotlightError, answer)
    return TestClient(app, headers={"Authorization": f"Bearer {key}"})


def make_user(admin: TestClient, user: str, **body: Any) -> str:
    assert admin.post(USERS, params={"userId": user}, json=body).status_code == 200
    return admin.post(f"{USERS}/{user}/apiKeys", json={"apiKey": {}}).json()["key"]


def test_first_start_makes_one_admin_whose_key_is_only_in_the_file(engine: Engine, key_file: Path) -> None:
    secret = key_file.read_text()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    principal = authenticate(engine, secret)
    assert (principal.account, principal.user, principal.role, principal.is_admin) == (
        "acme",
        "admin",
        Role.ADMIN,
        True,
    )
    with Session(engine) as db:
        stored = db.exec(select(ApiKey)).one()
    assert secret not in str(stored.model_dump())
    assert bootstrap(engine, "acme", key_file) is None
    assert key_file.read_text() == secret


def test_a_lost_key_file_is_reissued_only_when_asked(engine: Engine, key_file: Path) -> None:
    old = key_file.read_text()
    key_file.unlink()
    assert bootstrap(engine, "acme", key_file) is None
    assert not key_file.exists()
    new = bootstrap(engine, "acme", key_file, reissue=True)
    assert new == key_file.read_text() != old
    assert authenticate(engine, new).user == authenticate(engine, old).user == "admin"


STRANGER = pytest.param(mint_key().secret, id="a well-formed key of nobody")


@pytest.mark.parametrize("bearer", [None, "", "fw_short", "nonsense", "fw_" + "A" * 38, "é" * 41, STRANGER])
def test_other_keys_are_refused(engine: Engine, key_file: Path, bearer: str | None) -> None:
    assert key_file.exists()
    with pytest.raises(Unauthenticated):
        authenticate(engine, bearer)


def test_an_expired_key_is_refused(engine: Engine, admin: TestClient) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = admin.post(f"{USERS}/admin/apiKeys", json={"apiKey": {"expireTime": soon}}).json()
    assert authenticate(engine, made["key"]).key_id == made["keyId"]
    with Session(engine) as db:
        key = db.get(ApiKey, made["keyId"])
        assert key is not None
        key.expire_time = datetime.now(UTC) - timedelta(seconds=1)
        db.add(key)
        db.commit()
    with pytest.raises(Unauthenticated, match="expired"):
        authenticate(engine, made["key"])
    past = admin.post(f"{USERS}/admin/apiKeys", json={"apiKey": {"expireTime": "2020-01-01T00:00:00Z"}})
    assert past.status_code == 400


def test_a_key_is_shown_once_listed_without_secret_and_ends_with_its_deletion(
    engine: Engine, admin: TestClient
) -> None:
    made = admin.post(f"{USERS}/admin/apiKeys", json={"apiKey": {"displayName": "ci"}}).json()
    assert (made["displayName"], made["secure"]) == ("ci", True)
    authenticate(engine, made["key"])
    listed = admin.get(f"{USERS}/admin/apiKeys").json()
    assert {key["keyId"] for key in listed["apiKeys"]} >= {made["keyId"]}
    assert made["key"] not in str(listed)
    assert all("lastUsedTime" in key for key in listed["apiKeys"])
    assert admin.post(f"{USERS}/admin/apiKeys:delete", json={"keyId": made["keyId"]}).json() == {}
    with pytest.raises(Unauthenticated, match="deleted"):
        authenticate(engine, made["key"])
    assert admin.post(f"{USERS}/admin/apiKeys:delete", json={"keyId": made["keyId"]}).status_code == 404


def test_keys_page(admin: TestClient) -> None:
    for _ in range(4):
        admin.post(f"{USERS}/admin/apiKeys", json={"apiKey": {}})
    seen: list[str] = []
    token = ""
    while True:
        page = admin.get(f"{USERS}/admin/apiKeys", params={"pageSize": 2, "pageToken": token}).json()
        seen += [key["keyId"] for key in page["apiKeys"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert len(seen) == len(set(seen)) == 5


def test_only_admins_manage_users_and_foreign_keys(engine: Engine, admin: TestClient) -> None:
    key = make_user(admin, "alice", role="user", email="alice@example.com", displayName="Alice")
    make_user(admin, "agent", role="user", serviceAccount=True, permissionPreset="pilot")
    with make_client(engine, key) as alice:
        assert alice.post(f"{USERS}/alice/apiKeys", json={"apiKey": {}}).status_code == 200
        assert alice.get(USERS).status_code == 200
        for method, path, body in [
            ("POST", f"{USERS}?userId=bob", {"role": "admin"}),
            ("PATCH", f"{USERS}/alice", {"role": "admin"}),
            ("DELETE", f"{USERS}/admin", None),
            ("POST", f"{USERS}/agent/apiKeys", {"apiKey": {}}),
            ("POST", f"{USERS}/admin/apiKeys", {"apiKey": {}}),
            ("GET", f"{USERS}/admin/apiKeys", None),
            ("GET", "/v1/accounts/other/users", None),
        ]:
            assert alice.request(method, path, json=body).status_code == 403, (method, path)


def test_a_service_account_cannot_mint_keys_even_for_itself(engine: Engine, admin: TestClient) -> None:
    key = make_user(admin, "agent", role="admin", serviceAccount=True, permissionPreset="pilot")
    with make_client(engine, key) as agent:
        assert agent.get("/v1/whoami").json()["permissionPreset"] == "pilot"
        assert agent.get("/v1/whoami").json()["email"] == "agent@acme.sa.fireworks.ai"
        assert agent.post(f"{USERS}/agent/apiKeys", json={"apiKey": {}}).status_code == 403
        assert agent.post(USERS, params={"userId": "x"}, json={"role": "admin"}).status_code == 403


def test_service_accounts_are_listed_by_filter(admin: TestClient) -> None:
    make_user(admin, "agent", role="user", serviceAccount=True)
    make_user(admin, "alice", role="user")
    found = admin.get(USERS, params={"filter": "service_account=true"}).json()["users"]
    assert [user["name"] for user in found] == ["accounts/acme/users/agent"]


def test_users_are_updated_by_mask_and_the_last_admin_stays(admin: TestClient) -> None:
    make_user(admin, "alice", role="user", email="a@example.com", displayName="Alice")
    path = f"{USERS}/alice"
    changed = admin.patch(
        path, params={"updateMask": "display_name"}, json={"role": "admin", "displayName": "A."}
    ).json()
    assert (changed["displayName"], changed["role"], changed["email"]) == ("A.", "user", "a@example.com")
    assert admin.patch(f"{USERS}/admin", json={"role": "user"}).status_code == 400
    assert admin.delete(f"{USERS}/admin").status_code == 400
    assert admin.patch(path, json={"role": "admin"}).json()["role"] == "admin"
    assert admin.delete(f"{USERS}/admin").status_code == 200


def test_deleting_a_user_ends_its_keys(engine: Engine, admin: TestClient) -> None:
    key = make_user(admin, "alice", role="user")
    authenticate(engine, key)
    assert admin.delete(f"{USERS}/alice").status_code == 200
    assert admin.get(f"{USERS}/alice").status_code == 404
    with pytest.raises(Unauthenticated):
        authenticate(engine, key)


@pytest.mark.parametrize(
    ("params", "body", "code"),
    [
        ({"userId": "Bad_ID"}, {"role": "user"}, 400),
        ({}, {"role": "user"}, 400),
        ({}, {"role": "user", "email": "12.carol@example.com"}, 200),
        ({"userId": "x"}, {"role": "user", "permissionPreset": "pilot"}, 400),
        ({"userId": "admin"}, {"role": "user"}, 409),
    ],
)
def test_user_ids(admin: TestClient, params: dict[str, str], body: dict[str, Any], code: int) -> None:
    response = admin.post(USERS, params=params, json=body)
    assert response.status_code == code
    if code == 200:
        assert response.json()["name"] == "accounts/acme/users/carol"


def test_the_role_matrix_of_resources() -> None:
    def principal(role: Role) -> Principal:
        return Principal("acme", "u", role, None, False, "key_1", "u@acme")

    for role, new, own, foreign in [
        (Role.ADMIN, True, True, True),
        (Role.USER, True, True, True),
        (Role.CONTRIBUTOR, True, True, False),
        (Role.INFERENCE_USER, False, False, False),
    ]:
        for creator, allowed in [(None, new), ("u@acme", own), ("v@acme", foreign)]:
            if allowed:
                check_writer(principal(role), creator)
            else:
                with pytest.raises(PermissionDenied):
                    check_writer(principal(role), creator)
