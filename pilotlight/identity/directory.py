"""Users and keys of an account: create, change, list, delete, under the role rules [P110-P112]."""

from decimal import Decimal
from typing import Any

from sqlmodel import Session, func, select

from pilotlight.clock import now
from pilotlight.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from pilotlight.identity.principal import Principal, Role, require_admin
from pilotlight.identity.service import make_user, new_key_id
from pilotlight.identity.tables import ApiKey, User
from pilotlight.identity.wire import NewKeyBody, UserBody, key_wire
from pilotlight.keys import mint_key
from pilotlight.listing import parse_update_mask
from pilotlight.money import to_micros
from pilotlight.names import check_id

_MUTABLE = {"role", "displayName", "email"}


def create_user(db: Session, account: str, user_id: str, body: UserBody) -> User:
    """Add a user; without an ID one is made from the e-mail. Raises AlreadyExists, InvalidArgument."""
    user_id = check_id(user_id or _id_from_email(body.email), "userId")
    if body.permission_preset and not body.service_account:
        raise InvalidArgument(
            "permissionPreset is for service accounts.", hint="Set serviceAccount, or leave the preset out."
        )
    user = make_user(account, user_id, body.role)
    if db.get(User, user.name):
        raise AlreadyExists(f"User {user.name} already exists.", hint="Choose another userId.")
    user.display_name, user.email = body.display_name, body.email
    user.service_account, user.permission_preset = body.service_account, body.permission_preset
    db.add(user)
    return user


def update_user(db: Session, user: User, body: UserBody, mask: str | None) -> User:
    """Change role, display name and e-mail; whether it is a service account is fixed."""
    sent = body.model_fields_set
    if "service_account" in sent and body.service_account != user.service_account:
        raise InvalidArgument("serviceAccount cannot be changed.", hint="Create a new user instead.")
    paths = parse_update_mask(mask, _MUTABLE)
    if "role" in paths and "role" in sent:
        if user.role == Role.ADMIN and body.role is not Role.ADMIN:
            _keep_an_admin(db, user)
        user.role = body.role.value
    if "displayName" in paths:
        user.display_name = body.display_name
    if "email" in paths:
        user.email = body.email
    user.update_time = now()
    db.add(user)
    return user


def delete_user(db: Session, user: User) -> None:
    """Remove a user and its keys. Raises FailedPrecondition for the last admin."""
    if user.role == Role.ADMIN:
        _keep_an_admin(db, user)
    for key in keys_of(db, user):
        db.delete(key)
    db.flush()
    db.delete(user)


def find_user(db: Session, account: str, user_id: str) -> User:
    """The user; raises NotFound."""
    user = db.get(User, f"accounts/{account}/users/{user_id}")
    if user is None:
        raise NotFound(f"User accounts/{account}/users/{user_id} not found.", hint="List users to see their IDs.")
    return user


def users_of(db: Session, account: str) -> list[User]:
    """All users of an account."""
    return list(db.exec(select(User).where(User.account == account)))


def keys_of(db: Session, user: User) -> list[ApiKey]:
    """All keys of a user."""
    return list(db.exec(select(ApiKey).where(ApiKey.user_name == user.name)))


def create_key(db: Session, user: User, body: NewKeyBody) -> dict[str, Any]:
    """Mint a key; the wire form carries the secret, this once."""
    if body.expire_time and body.expire_time <= now():
        raise InvalidArgument("expireTime is in the past.", hint="Give a later time, or none.")
    secret = mint_key()
    key = ApiKey(key_id=new_key_id(), digest=secret.digest, user_name=user.name, prefix=secret.secret[:7])
    key.display_name, key.expire_time = body.display_name or "default", body.expire_time
    key.month_limit_micros = _micros(body.monthly_spend_limit_usd)
    key.session_limit_micros = _micros(body.session_spend_limit_usd)
    db.add(key)
    db.flush()
    return key_wire(key, user, secret.secret)


def delete_key(db: Session, user: User, key_id: str) -> None:
    """Remove a key of this user; raises NotFound."""
    key = db.get(ApiKey, key_id)
    if key is None or key.user_name != user.name:
        raise NotFound(f"API key {key_id[:80]!r} of {user.name} not found.", hint="List the keys to see their IDs.")
    db.delete(key)


def check_keys_access(principal: Principal, user: User) -> None:
    """Own keys are everybody's, those of service accounts and of others an admin's [P111]. Raises PermissionDenied."""
    if user.service_account or user.name != principal.user_name:
        require_admin(principal, f"manage the keys of {user.id}")
    if principal.preset:
        raise PermissionDenied(f"The preset {principal.preset} does not include API keys.")


def check_may_mint(principal: Principal) -> None:
    """A key with a spend limit makes no other keys, or its limit would bound nothing. Raises PermissionDenied."""
    if principal.spend_limited:
        raise PermissionDenied(
            "This key has a spend limit, so it cannot make keys: a new key would not have that limit.",
            hint="Use a key without a limit, or ask an admin of the account for a key with another limit.",
        )


def _micros(amount: Decimal | None) -> int | None:
    return None if amount is None else to_micros(amount)


def _keep_an_admin(db: Session, user: User) -> None:
    others = select(func.count()).where(
        User.account == user.account, User.role == Role.ADMIN.value, User.name != user.name
    )
    if not db.exec(others).one():
        raise FailedPrecondition(f"{user.id} is the last admin of {user.account}.", hint="Make another admin first.")


def _id_from_email(email: str) -> str:
    if "@" not in email:
        raise InvalidArgument("Neither userId nor email is given.", hint="Pass ?userId=<id>.")
    local = "".join(c if c.isascii() and c.isalnum() else "-" for c in email.split("@")[0].lower())
    return local[:63].strip("-").lstrip("0123456789-") or "user"
