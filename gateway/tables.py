"""Tables of the control database that the gateway owns. Money is whole micro-dollars, time RFC 3339 UTC text."""

from typing import ClassVar

from sqlalchemy import DDL, Engine, Index
from sqlmodel import Field, SQLModel

from pilotlight.columns import BigInt


class GrantRow(SQLModel, table=True):
    """A right to spend, written by an approval [DESIGN section 6]. The counters change only by conditional UPDATEs."""

    __tablename__: ClassVar[str] = "gateway_grants"  # pyright: ignore[reportIncompatibleVariableOverride]
    __table_args__ = (Index("gateway_grants_by_method", "session", "method"),)

    id: str = Field(primary_key=True)
    session: str
    plan_hash: str
    gate: str
    spec: str
    """ID within the plan."""
    method: str
    rules: str
    """JSON: field -> pilotlight.plan.Rule."""
    max_calls: int
    max_cost_micros: int = Field(sa_type=BigInt)
    max_hours: float | None
    phase: str
    text: str
    approver: str
    create_time: str
    expire_time: str
    prices: str = ""
    """JSON: the pilotlight.pricebook.PriceBook of the approval. A book edited later changes no running grant."""
    revoke_time: str | None = None
    calls: int = 0
    reserved_micros: int = Field(default=0, sa_type=BigInt)
    settled_micros: int = Field(default=0, sa_type=BigInt)


class LimitRow(SQLModel, table=True):
    """What a session may hold in total: reserved plus settled. No limit is NULL.

    The session's own limit, that of the key which created it, and the counter of that key's month
    (pilotlight.identity.tables.KeyMonth), to which all that this session holds is added too.
    """

    __tablename__: ClassVar[str] = "gateway_limits"  # pyright: ignore[reportIncompatibleVariableOverride]

    session: str = Field(primary_key=True)
    limit_micros: int | None = Field(default=None, sa_type=BigInt)
    key_limit_micros: int | None = Field(default=None, sa_type=BigInt)
    key_month: str | None = None
    held_micros: int = Field(default=0, sa_type=BigInt)


class ReservationRow(SQLModel, table=True):
    """Money held for one call until its actual cost is known. States: active, settled, released."""

    __tablename__: ClassVar[str] = "gateway_reservations"  # pyright: ignore[reportIncompatibleVariableOverride]

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInt)
    grant_id: str = Field(index=True)
    session: str = Field(index=True)
    account: str
    method: str
    billing: str
    resource: str
    """Full name of what the call creates."""
    amount_micros: int = Field(sa_type=BigInt)
    accrued_micros: int = Field(default=0, sa_type=BigInt)
    hour_micros: int | None = Field(default=None, sa_type=BigInt)
    """Price per hour of one replica (or job) when it was reserved."""
    replicas: int = 1
    state: str = Field(default="active", index=True)
    confirmed: bool = False
    """Whether the platform said that the resource exists."""
    reason: str = ""
    create_time: str
    until: str | None = None
    settle_time: str | None = None


class EffectRow(SQLModel, table=True):
    """One outside effect by its key: the same key and digest replays the response, another digest is refused."""

    __tablename__: ClassVar[str] = "gateway_effects"  # pyright: ignore[reportIncompatibleVariableOverride]

    scope: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    digest: str
    method: str
    reservation: int | None = Field(default=None, sa_type=BigInt)
    state: str = "pending"
    code: int = 0
    response: str = ""
    create_time: str


class OwnerRow(SQLModel, table=True):
    """Who created a resource through this gateway, and in which session."""

    __tablename__: ClassVar[str] = "gateway_owners"  # pyright: ignore[reportIncompatibleVariableOverride]

    name: str = Field(primary_key=True)
    owner: str
    """User ID: of the key, or of who drives the session."""
    session: str = Field(default="", index=True)
    method: str
    create_time: str


class AuditRow(SQLModel, table=True):
    """One verdict. `hash` covers all other fields and the hash of the row before."""

    __tablename__: ClassVar[str] = "gateway_audit"  # pyright: ignore[reportIncompatibleVariableOverride]

    seq: int = Field(primary_key=True, sa_type=BigInt)
    time: str
    principal: str
    method: str
    resource: str
    verdict: str
    rule: str
    detail: str
    """Canonical JSON."""
    previous: str
    hash: str


_TABLES = (GrantRow, LimitRow, ReservationRow, EffectRow, OwnerRow, AuditRow)
_APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER IF NOT EXISTS gateway_audit_no_{act.lower()} BEFORE {act} ON gateway_audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
        for act in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION gateway_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'the audit is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$",
        *(
            f"CREATE OR REPLACE TRIGGER gateway_audit_no_{act.lower()} BEFORE {act} ON gateway_audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION gateway_audit_refuse()"
            for act in ("UPDATE", "DELETE", "TRUNCATE")
        ),
    ],
}


def create_tables(engine: Engine) -> None:
    """Create what is missing of the gateway's tables."""
    SQLModel.metadata.create_all(engine, tables=[SQLModel.metadata.tables[str(t.__tablename__)] for t in _TABLES])
    with engine.begin() as connection:
        for statement in _APPEND_ONLY[engine.dialect.name]:
            connection.execute(DDL(statement))
