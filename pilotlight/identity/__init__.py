"""Who calls: accounts, users, roles, service accounts and API keys. One code, mounted by both servers on their own
databases."""

from pilotlight.identity.access import bearer_of, check_account
from pilotlight.identity.principal import Principal, Role, check_writer, require_admin
from pilotlight.identity.routes import identity_router
from pilotlight.identity.service import authenticate, bootstrap, create_tables
from pilotlight.identity.spend import open_month

__all__ = [
    "Principal",
    "Role",
    "authenticate",
    "bearer_of",
    "bootstrap",
    "check_account",
    "check_writer",
    "create_tables",
    "identity_router",
    "open_month",
    "require_admin",
]
