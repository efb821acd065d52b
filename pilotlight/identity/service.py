"""First start, and from a key to its principal."""

import os
import string
from datetime import datetime, timedelta
from pathlib import Path
from secrets import choice
from typing import Any

from sqlalchemy import Engine, bindparam, select
from sqlmodel import Session, SQLModel

from pilotlight.clock import as_utc, now
from pilotlight.errors import Unauthenticated
from pilotlight.identity.principal import Principal, Role
from pilotlight.identity.tables import Account, ApiKey, User
from pilotlight.keys import NewKey, digest_key, mint_key, well_formed

_LAST_USED_STEP = timedelta(seconds=60)
"""`lastUsedTime` is that coarse, so that a read does not cost a durable write."""


_KEYS, _USERS = (SQLModel.metadata.tables[name] for name in ("identity_api_key", "identity_user"))
_OF_KEY = ("key_id", "expire_time", "last_used_time", "month_limit_micros", "session_limit_micros")
_HOLDER = (
    select(*(_KEYS.c[name] for name in _OF_KEY), *_USERS.c)
    .join(_USERS, _USERS.c.name == _KEYS.c.user_name)
    .where(_KEYS.c.digest == bindparam("presented"))
)
"""Plain columns, since each call of a key waits for this one query: objects would take five times as long."""


def create_tables(engine: Engine) -> None:
    """Create the identity tables where they are missing."""
    names = ("identity_account", "identity_user", "identity_api_key", "identity_key_month")
    tables = [SQLModel.metadata.tables[name] for name in names]
    SQLModel.metadata.create_all(engine, tables=tables)


def bootstrap(engine: Engine, account: str, key_file: Path | None = None, *, reissue: bool = False) -> str | None:
    """Create `account` with the user `admin` and a key on first start; return the secret, None on later starts.

    The key file (0600) is written before the commit: a crash between the two leaves a database that starts afresh.
    With `reissue`, a missing key file of an existing account gets a new key.
    """
    create_tables(engine)
    with Session(engine) as db:
        known = db.get(Account, account) is not None
        if known and not (reissue and key_file and not key_file.exists()):
            return None
        if not known:
            db.add(Account(id=account, display_name=account, email=f"admin@{account}"))
            db.flush()
            db.add(make_user(account, "admin", Role.ADMIN))
            db.flush()
        secret = add_key(db, f"accounts/{account}/users/admin", "first start").secret
        if key_file:
            write_secret(key_file, secret)
        db.commit()
    return secret


def authenticate(engine: Engine, bearer: str | None) -> Principal:
    """The principal of a presented key. Raises Unauthenticated: none, malformed, unknown, or expired."""
    if not bearer:
        raise Unauthenticated("No API key.", hint="Send `Authorization: Bearer <key>`.")
    if not well_formed(bearer):
        raise Unauthenticated("Invalid API key.", hint="This is not one of our keys; check what you pasted.")
    with engine.execution_options(readonly=True).connect() as db:
        found: Any = db.execute(_HOLDER, {"presented": digest_key(bearer)}).first()
    if found is None:
        raise Unauthenticated("Unknown API key.", hint="It may have been deleted; create a new one.")
    if found.expire_time and as_utc(found.expire_time) <= now():
        raise Unauthenticated("This API key has expired.", hint="Create a new one.")
    _touch(engine, found.key_id, found.last_used_time)
    return principal_of(found, found)


def principal_of(user: User, key: ApiKey) -> Principal:
    """A user as a caller, with the limits of the key."""
    return Principal(
        account=user.account,
        user=user.id,
        role=Role(user.role),
        preset=user.permission_preset,
        service_account=user.service_account,
        key_id=key.key_id,
        email=email_of(user),
        month_limit_micros=key.month_limit_micros,
        session_limit_micros=key.session_limit_micros,
    )


def email_of(user: User) -> str:
    """The e-mail, or the audit identity `<id>@<account>.sa.fireworks.ai` of a service account [P112]."""
    if user.service_account:
        return f"{user.id}@{user.account}.sa.fireworks.ai"
    return user.email or f"{user.id}@{user.account}"


def make_user(account: str, user_id: str, role: Role) -> User:
    """A user row, not yet stored."""
    return User(name=f"accounts/{account}/users/{user_id}", account=account, id=user_id, role=role.value)


def add_key(db: Session, user_name: str, display_name: str) -> NewKey:
    """Mint and store a key without expiry; the caller commits."""
    key = mint_key()
    db.add(
        ApiKey(
            key_id=new_key_id(),
            digest=key.digest,
            user_name=user_name,
            display_name=display_name,
            prefix=key.secret[:7],
        )
    )
    return key


def new_key_id() -> str:
    """`key_` and 16 random characters."""
    return "key_" + "".join(choice(string.ascii_letters + string.digits) for _ in range(16))


def write_secret(path: Path, secret: str) -> None:
    """Write a secret for this user's eyes only, atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _touch(engine: Engine, key_id: str, last_used: datetime | None) -> None:
    if last_used and now() - as_utc(last_used) < _LAST_USED_STEP:
        return
    with Session(engine) as db:
        stored = db.get(ApiKey, key_id)
        if stored is not None:
            stored.last_used_time = now()
            db.commit()
