"""Wire forms of accounts, users and keys, as the official SDK reads them. camelCase."""

from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, Field

from pilotlight.clock import to_rfc3339
from pilotlight.identity.principal import Role
from pilotlight.identity.service import email_of
from pilotlight.identity.tables import Account, ApiKey, User
from pilotlight.money import Dollars, from_micros
from pilotlight.wire import Wire

ACCOUNT_FIELDS = frozenset({"name", "email", "displayName", "createTime", "updateTime", "state"})
USER_FIELDS = frozenset(
    {"name", "role", "email", "displayName", "serviceAccount", "permissionPreset", "createTime", "updateTime", "state"}
)
KEY_FIELDS = frozenset({"keyId", "displayName", "email", "prefix", "createTime", "expireTime", "lastUsedTime"})
"""Lists filter and order by these; limits are shown only."""


class UserBody(Wire):
    """Body of users.create and users.update."""

    role: Role = Role.USER
    display_name: str = Field(default="", max_length=63)
    email: str = Field(default="", max_length=254)
    service_account: bool = False
    permission_preset: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9-]{0,62}$")


class NewKeyBody(Wire):
    """The `apiKey` object of apiKeys.create."""

    display_name: str = Field(default="default", max_length=63)
    expire_time: AwareDatetime | None = None
    monthly_spend_limit_usd: Dollars | None = None
    """For all sessions that the key creates in one calendar month (UTC) together."""
    session_spend_limit_usd: Dollars | None = None


class CreateKeyBody(Wire):
    """Body of apiKeys.create."""

    api_key: NewKeyBody


class DeleteKeyBody(Wire):
    """Body of apiKeys:delete."""

    key_id: str


def account_wire(account: Account) -> dict[str, Any]:
    """Account."""
    return {
        "name": f"accounts/{account.id}",
        "displayName": account.display_name,
        "email": account.email,
        "state": "READY",
        "suspendState": "UNSUSPENDED",
        **_times(account.create_time, account.update_time),
    }


def user_wire(user: User) -> dict[str, Any]:
    """User; `permissionPreset` is ours and present only where set."""
    preset = {"permissionPreset": user.permission_preset} if user.permission_preset else {}
    return {
        "name": user.name,
        "displayName": user.display_name,
        "role": user.role,
        "email": email_of(user),
        "serviceAccount": user.service_account,
        "state": "READY",
        **preset,
        **_times(user.create_time, user.update_time),
    }


def key_wire(key: ApiKey, user: User, secret: str | None = None, used_micros: int | None = None) -> dict[str, Any]:
    """APIKey; `key` only in the answer that creates it. Limits and what is used of them are ours."""
    optional = {"expireTime": key.expire_time, "lastUsedTime": key.last_used_time}
    return {
        "keyId": key.key_id,
        "displayName": key.display_name,
        "email": email_of(user),
        "prefix": key.prefix,
        "secure": True,
        "createTime": to_rfc3339(key.create_time),
        **{name: to_rfc3339(value) for name, value in optional.items() if value},
        **limits_wire(key.month_limit_micros, key.session_limit_micros, used_micros),
        **({"key": secret} if secret else {}),
    }


def limits_wire(month: int | None, session: int | None, used: int | None) -> dict[str, str]:
    """The limits of a key and what its sessions of this month hold, in dollars; present only where they are known."""
    amounts = {"monthlySpendLimitUsd": month, "sessionSpendLimitUsd": session, "usedThisMonthUsd": used}
    return {name: str(from_micros(micros)) for name, micros in amounts.items() if micros is not None}


def _times(created: datetime, updated: datetime) -> dict[str, str]:
    return {"createTime": to_rfc3339(created), "updateTime": to_rfc3339(updated)}
