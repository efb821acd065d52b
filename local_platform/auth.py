"""Who calls the local platform, and whether the account in the path is theirs to read or write."""

from typing import Annotated

from fastapi import Depends, Request

from local_platform.context import PlatformDep
from pilotlight.errors import PermissionDenied
from pilotlight.identity import Principal, authenticate, bearer_of, check_account, check_writer
from pilotlight.names import CATALOGUE_ACCOUNT

_READS = ("GET", "HEAD")


def identify(request: Request, platform: PlatformDep) -> Principal:
    """The principal of the request's key. Raises Unauthenticated."""
    return authenticate(platform.engine, bearer_of(request))


def admit(request: Request, platform: PlatformDep) -> Principal:
    """The principal, admitted to the account of the path.

    Own account: reads for all roles, writes for those who may write. Catalogue `fireworks` and the wildcard `-`: reads.
    Raises Unauthenticated, PermissionDenied.
    """
    principal = identify(request, platform)
    account = request.path_params.get("account", principal.account)
    if request.method in _READS:
        if account not in (CATALOGUE_ACCOUNT, "-"):
            check_account(principal, account)
        return principal
    if account == CATALOGUE_ACCOUNT:
        raise PermissionDenied("The account fireworks is the catalogue: it is read-only.", hint="Use your own account.")
    check_account(principal, account)
    check_writer(principal)
    return principal


def own(account: str, principal: Principal) -> str:
    """The account whose resources a list shows: the wildcard `-` stands for the caller's own."""
    return principal.account if account == "-" else account


def identify_admin(principal: Annotated[Principal, Depends(identify)]) -> Principal:
    """An admin of the account; for local extensions that write to the catalogue."""
    if not principal.is_admin:
        raise PermissionDenied("Only an admin may change the catalogue.", hint="Use an admin's key.")
    return principal


CallerDep = Annotated[Principal, Depends(admit)]
"""For routes under /v1/accounts/{account}: authenticated, and admitted to that account for this method."""
AnyCallerDep = Annotated[Principal, Depends(identify)]
"""For routes without an account in the path (inference)."""
AdminDep = Annotated[Principal, Depends(identify_admin)]
