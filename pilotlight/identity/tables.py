"""Tables of identity. Keys are stored as SHA-256 only."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from pilotlight.clock import now
from pilotlight.columns import BigInt


class Account(SQLModel, table=True):
    """The top-level resource `accounts/<id>` [P1]."""

    __tablename__ = "identity_account"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    display_name: str = ""
    email: str = ""
    create_time: datetime = Field(default_factory=now)
    update_time: datetime = Field(default_factory=now)


class User(SQLModel, table=True):
    """`accounts/<account>/users/<id>`: a person, or a service account that lives by API keys only [P2, P112]."""

    __tablename__ = "identity_user"  # pyright: ignore[reportAssignmentType]

    name: str = Field(primary_key=True)
    account: str = Field(index=True, foreign_key="identity_account.id")
    id: str
    role: str
    display_name: str = ""
    email: str = ""
    service_account: bool = False
    permission_preset: str | None = None
    """Only the preset's name is stored; what it allows is the manifest's matter [DESIGN section 6]."""
    create_time: datetime = Field(default_factory=now)
    update_time: datetime = Field(default_factory=now)


class ApiKey(SQLModel, table=True):
    """A key of a user. The secret is shown once, at creation."""

    __tablename__ = "identity_api_key"  # pyright: ignore[reportAssignmentType]

    key_id: str = Field(primary_key=True)
    digest: str = Field(unique=True, index=True)
    user_name: str = Field(index=True, foreign_key="identity_user.name")
    display_name: str = "default"
    prefix: str = ""
    create_time: datetime = Field(default_factory=now)
    expire_time: datetime | None = None
    last_used_time: datetime | None = None
    month_limit_micros: int | None = Field(default=None, sa_type=BigInt)
    """What all sessions created with this key in one calendar month (UTC) may spend; fixed at creation."""
    session_limit_micros: int | None = Field(default=None, sa_type=BigInt)
    """What one session created with this key may spend; fixed at creation."""


class KeyMonth(SQLModel, table=True):
    """What the sessions that one key created in one calendar month hold: reserved plus settled micro-dollars.

    It outlives its key: deleting a key does not lift the limit of the sessions that it created.
    """

    __tablename__ = "identity_key_month"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True)
    """`<key>/<year>-<month>`."""
    key_id: str = Field(index=True)
    limit_micros: int | None = Field(default=None, sa_type=BigInt)
    held_micros: int = Field(default=0, sa_type=BigInt)
