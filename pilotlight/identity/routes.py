"""The HTTP routes of accounts, users and API keys. Errors are raised as PilotlightError; the app gives them a body."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy import Engine
from sqlmodel import Session

from pilotlight.errors import NotFound
from pilotlight.identity import directory
from pilotlight.identity.access import Caller, IdentityEngine, Member
from pilotlight.identity.principal import require_admin
from pilotlight.identity.spend import used_micros
from pilotlight.identity.tables import Account
from pilotlight.identity.wire import (
    ACCOUNT_FIELDS,
    KEY_FIELDS,
    USER_FIELDS,
    CreateKeyBody,
    DeleteKeyBody,
    UserBody,
    account_wire,
    key_wire,
    limits_wire,
    user_wire,
)
from pilotlight.listing import apply_read_mask, list_page, parse_list_params
from pilotlight.strict_json import StrictRoute

Json = dict[str, Any]
_router = APIRouter(route_class=StrictRoute, tags=["identity"])


def identity_router(engine: Engine) -> APIRouter:
    """The routes over the identity tables in `engine`'s database."""

    def attach(request: Request) -> None:
        request.state.identity_engine = engine

    router = APIRouter(dependencies=[Depends(attach)])
    router.include_router(_router)
    return router


@_router.get("/v1/whoami")
def whoami(engine: IdentityEngine, caller: Caller) -> Json:
    """Who the key is, and what it may spend: a local extension."""
    with _reading(engine) as db:
        used = used_micros(db, [caller.key_id]).get(caller.key_id, 0)
    return {
        "account": f"accounts/{caller.account}",
        "user": caller.user_name,
        "email": caller.email,
        "role": caller.role.value,
        "serviceAccount": caller.service_account,
        "keyId": caller.key_id,
        **({"permissionPreset": caller.preset} if caller.preset else {}),
        **limits_wire(caller.month_limit_micros, caller.session_limit_micros, used),
    }


@_router.get("/v1/accounts")
def list_accounts(request: Request, engine: IdentityEngine, caller: Caller) -> Json:
    """accounts.list: the account of the key."""
    with _reading(engine) as db:
        accounts = [account_wire(_find_account(db, caller.account))]
    return list_page(accounts, parse_list_params(request.query_params), "accounts", ACCOUNT_FIELDS)


@_router.get("/v1/accounts/{account}")
def get_account(request: Request, account: str, engine: IdentityEngine, caller: Member) -> Json:
    """accounts.get."""
    with _reading(engine) as db:
        return _mask(request, account_wire(_find_account(db, account)))


@_router.post("/v1/accounts/{account}/users")
def create_user(request: Request, account: str, body: UserBody, engine: IdentityEngine, caller: Member) -> Json:
    """users.create, for admins; the ID is in the query."""
    require_admin(caller, "create users")
    query = request.query_params
    with Session(engine) as db:
        wire = user_wire(directory.create_user(db, account, query.get("userId") or query.get("user_id") or "", body))
        db.commit()
    return wire


@_router.get("/v1/accounts/{account}/users")
def list_users(request: Request, account: str, engine: IdentityEngine, caller: Member) -> Json:
    """users.list; `filter=service_account=true` shows the service accounts."""
    with _reading(engine) as db:
        users = [user_wire(user) for user in directory.users_of(db, account)]
    return list_page(users, parse_list_params(request.query_params), "users", USER_FIELDS)


@_router.post("/v1/accounts/{account}/users/{user}/apiKeys:delete")
def delete_key(account: str, user: str, body: DeleteKeyBody, engine: IdentityEngine, caller: Member) -> Json:
    """apiKeys.delete."""
    with Session(engine) as db:
        owner = directory.find_user(db, account, user)
        directory.check_keys_access(caller, owner)
        directory.delete_key(db, owner, body.key_id)
        db.commit()
    return {}


@_router.post("/v1/accounts/{account}/users/{user}/apiKeys")
def create_key(account: str, user: str, body: CreateKeyBody, engine: IdentityEngine, caller: Member) -> Json:
    """apiKeys.create: the only answer that holds the secret."""
    with Session(engine) as db:
        owner = directory.find_user(db, account, user)
        directory.check_keys_access(caller, owner)
        directory.check_may_mint(caller)
        wire = directory.create_key(db, owner, body.api_key)
        db.commit()
    return wire


@_router.get("/v1/accounts/{account}/users/{user}/apiKeys")
def list_keys(request: Request, account: str, user: str, engine: IdentityEngine, caller: Member) -> Json:
    """apiKeys.list, without secrets."""
    with _reading(engine) as db:
        owner = directory.find_user(db, account, user)
        directory.check_keys_access(caller, owner)
        found = directory.keys_of(db, owner)
        used = used_micros(db, [key.key_id for key in found])
        keys = [key_wire(key, owner, used_micros=used.get(key.key_id, 0)) for key in found]
    # A key has no resource name: its ID breaks ties in the order.
    named = [{"name": key["keyId"], **key} for key in keys]
    page = list_page(named, parse_list_params(request.query_params), "apiKeys", KEY_FIELDS)
    page["apiKeys"] = [{field: value for field, value in key.items() if field != "name"} for key in page["apiKeys"]]
    return page


@_router.get("/v1/accounts/{account}/users/{user}")
def get_user(request: Request, account: str, user: str, engine: IdentityEngine, caller: Member) -> Json:
    """users.get."""
    with _reading(engine) as db:
        return _mask(request, user_wire(directory.find_user(db, account, user)))


@_router.patch("/v1/accounts/{account}/users/{user}")
def update_user(
    request: Request, account: str, user: str, body: UserBody, engine: IdentityEngine, caller: Member
) -> Json:
    """users.update, for admins."""
    require_admin(caller, "change users")
    mask = request.query_params.get("updateMask") or request.query_params.get("update_mask")
    with Session(engine) as db:
        wire = user_wire(directory.update_user(db, directory.find_user(db, account, user), body, mask))
        db.commit()
    return wire


@_router.delete("/v1/accounts/{account}/users/{user}")
def delete_user(account: str, user: str, engine: IdentityEngine, caller: Member) -> Json:
    """Delete a user and its keys, for admins."""
    require_admin(caller, "delete users")
    with Session(engine) as db:
        directory.delete_user(db, directory.find_user(db, account, user))
        db.commit()
    return {}


def _reading(engine: Engine) -> Session:
    return Session(engine.execution_options(readonly=True))


def _mask(request: Request, resource: Json) -> Json:
    return apply_read_mask(resource, request.query_params.get("readMask") or request.query_params.get("read_mask"))


def _find_account(db: Session, account: str) -> Account:
    row = db.get(Account, account)
    if row is None:
        raise NotFound(f"Account accounts/{account} not found.")
    return row
