"""The authenticated caller and what its role allows [P110, P111]."""

from dataclasses import dataclass
from enum import StrEnum

from pilotlight.errors import PermissionDenied


class Role(StrEnum):
    """Roles of users, as the command line spells them."""

    ADMIN = "admin"
    USER = "user"
    CONTRIBUTOR = "contributor"
    INFERENCE_USER = "inference-user"


@dataclass(frozen=True)
class Principal:
    """Who presented the key."""

    account: str
    user: str
    """User ID, without the account."""
    role: Role
    preset: str | None
    service_account: bool
    key_id: str
    email: str
    month_limit_micros: int | None = None
    """What the key's sessions of one month may spend together; None: no limit."""
    session_limit_micros: int | None = None

    @property
    def is_admin(self) -> bool:
        """Whether the caller may manage users and keys."""
        return self.role is Role.ADMIN and self.preset is None

    @property
    def spend_limited(self) -> bool:
        """Whether the key has a limit: then it pays for things only through sessions, where the limit is counted."""
        return self.month_limit_micros is not None or self.session_limit_micros is not None

    @property
    def user_name(self) -> str:
        """`accounts/<account>/users/<user>`."""
        return f"accounts/{self.account}/users/{self.user}"


def require_admin(principal: Principal, act: str) -> None:
    """Raises PermissionDenied unless the caller is an admin; `act` completes "Only an admin may ..."."""
    if not principal.is_admin:
        raise PermissionDenied(
            f"Only an admin may {act}; {principal.user} has the role {principal.role}.",
            hint="Ask an admin of the account.",
        )


def check_writer(principal: Principal, created_by: str | None = None) -> None:
    """The role matrix of resources [P111]. `created_by` is the creator's e-mail, None for a new resource.

    Raises PermissionDenied: inference users never write, contributors only what they created.
    """
    if principal.role is Role.INFERENCE_USER:
        raise PermissionDenied(
            f"{principal.user} has the role inference-user, which may read and run inference but not create or change.",
            hint="Ask an admin for the role contributor or user.",
        )
    if principal.role is Role.CONTRIBUTOR and created_by not in (None, principal.email):
        raise PermissionDenied(
            f"{principal.user} has the role contributor, which may change only its own resources.",
            hint="Ask its creator, or an admin for the role user.",
        )
