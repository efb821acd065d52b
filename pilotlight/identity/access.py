"""From a request to its caller, as FastAPI dependencies over the identity database."""

from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from pilotlight.errors import PermissionDenied
from pilotlight.identity.principal import Principal
from pilotlight.identity.service import authenticate


def bearer_of(request: Request) -> str | None:
    """The key a request presents: `Authorization: Bearer`, or `x-api-key` as Anthropic clients send it."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return request.headers.get("x-api-key") or None


def check_account(principal: Principal, account: str) -> None:
    """Raises PermissionDenied unless the key belongs to `account`."""
    if account != principal.account:
        raise PermissionDenied(
            f"This key belongs to the account {principal.account}, not to {account[:80]!r}.",
            hint="Use the account of the key.",
        )


def _engine(request: Request) -> Engine:
    return request.state.identity_engine


def _identify(request: Request, engine: Annotated[Engine, Depends(_engine)]) -> Principal:
    return authenticate(engine, bearer_of(request))


def _admit(account: str, principal: Annotated[Principal, Depends(_identify)]) -> Principal:
    check_account(principal, account)
    return principal


IdentityEngine = Annotated[Engine, Depends(_engine)]
Caller = Annotated[Principal, Depends(_identify)]
Member = Annotated[Principal, Depends(_admit)]
"""A caller whose key belongs to the account in the path."""
