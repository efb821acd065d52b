"""Tables of the control process that the agent owns. SQLite and PostgreSQL alike: text, integers and floats only.

Times are RFC 3339 UTC text of fixed width, so that they compare as text. JSON columns hold ASCII JSON text.
"""

from typing import ClassVar

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from pilotlight.columns import BigInt


class SessionRow(SQLModel, table=True):
    """One session: the truth about it [DESIGN section 3]."""

    __tablename__: ClassVar[str] = "sessions"  # pyright: ignore[reportIncompatibleVariableOverride]
    __table_args__ = (Index("sessions_by_time", "account", "create_time", "id"),)

    id: str = Field(primary_key=True)
    slot: int = Field(unique=True)
    """Distinct small number: the session's own user ID in the sandbox is the base plus this."""
    account: str = Field(index=True)
    created_by: str
    """E-mail of who created it."""
    created_user: str
    """User ID of the same: whose role the session's calls have."""
    created_key: str = ""
    """ID of the key it was created with: its limits bound the session."""
    instruction: str
    scope: str = "optimize"
    status: str = Field(index=True)
    narrative: str = ""
    """The last status_info text; what statusInfo shows while no question is open."""
    phase: str | None = None
    create_time: str
    update_time: str
    last_seq: int = Field(default=0, sa_type=BigInt)
    version: int = Field(default=1, sa_type=BigInt)
    """Raised by every change but plain events: the source of the etag."""
    turn: int = 0
    epoch: int = Field(default=0, sa_type=BigInt)
    """Raised whenever a runner starts. A write of an older one is refused."""
    spend_limit_micros: int | None = Field(default=None, sa_type=BigInt)
    auto_approve_micros: int | None = Field(default=None, sa_type=BigInt)
    auto_approve_expires: str | None = None
    auto_approve_by: str | None = None
    """E-mail of the person who set it: who created the session."""
    auto_approve_kinds: str = ""
    """Space-separated question kinds that it covers."""
    plan_hash: str | None = None
    question_id: str | None = None
    """The open question while the session waits."""
    seen_instruction: int = 0
    """How many later instructions a runner has read."""
    pending_time: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Since when it waits in the queue, while it is pending."""
    graph_version: str | None = None


class EventRow(SQLModel, table=True):
    """One event. `key` makes a runner's retry harmless."""

    __tablename__: ClassVar[str] = "events"  # pyright: ignore[reportIncompatibleVariableOverride]
    __table_args__ = (
        UniqueConstraint("session_id", "key"),
        Index("events_by_time", "session_id", "time"),
    )

    session_id: str = Field(primary_key=True, foreign_key="sessions.id")
    seq: int = Field(primary_key=True, sa_type=BigInt)
    type: str
    time: str
    turn: int
    epoch: int = Field(sa_type=BigInt)
    key: str | None = None
    payload: str


class InstructionRow(SQLModel, table=True):
    """What the user said after the first instruction and outside of answers, in order from 1."""

    __tablename__: ClassVar[str] = "instructions"  # pyright: ignore[reportIncompatibleVariableOverride]

    session_id: str = Field(primary_key=True, foreign_key="sessions.id")
    number: int = Field(primary_key=True)
    text: str
    time: str
    principal: str


class QuestionRow(SQLModel, table=True):
    """A question the session asked. `digest` binds the ID to its content."""

    __tablename__: ClassVar[str] = "questions"  # pyright: ignore[reportIncompatibleVariableOverride]

    session_id: str = Field(primary_key=True, foreign_key="sessions.id")
    question_id: str = Field(primary_key=True)
    kind: str
    digest: str
    document: str
    """The Question as wire JSON, with the text the user sees."""
    plan_hash: str | None = None
    time: str


class AnswerRow(SQLModel, table=True):
    """The inbox: at most one answer for each question."""

    __tablename__: ClassVar[str] = "answers"  # pyright: ignore[reportIncompatibleVariableOverride]

    session_id: str = Field(primary_key=True, foreign_key="sessions.id")
    question_id: str = Field(primary_key=True)
    document: str
    """The Answer as wire JSON."""
    time: str


class PlanRow(SQLModel, table=True):
    """A proposed plan, as it was hashed, and who approved it."""

    __tablename__: ClassVar[str] = "plans"  # pyright: ignore[reportIncompatibleVariableOverride]

    session_id: str = Field(primary_key=True, foreign_key="sessions.id")
    plan_hash: str = Field(primary_key=True)
    document: str
    markdown: str
    time: str
    approved_by: str | None = None
    approved_time: str | None = None


class RequestRow(SQLModel, table=True):
    """A request that carried a requestId, and its reply: the same request again gets the same reply."""

    __tablename__: ClassVar[str] = "requests"  # pyright: ignore[reportIncompatibleVariableOverride]

    scope: str = Field(primary_key=True)
    """The collection or session the ID is unique in."""
    request_id: str = Field(primary_key=True)
    digest: str
    reply: str
    time: str


class TurnRow(SQLModel, table=True):
    """One runner process. `outcome` is what it said before it ended: asked, succeeded, failed, cancelled.

    Without `ended` it may still be at work: its worker was lost and never heard of again.
    """

    __tablename__: ClassVar[str] = "turns"  # pyright: ignore[reportIncompatibleVariableOverride]

    session_id: str = Field(primary_key=True, foreign_key="sessions.id")
    epoch: int = Field(primary_key=True, sa_type=BigInt)
    turn: int
    started: str
    ended: str | None = None
    outcome: str | None = None
    message: str = ""
    question_id: str | None = None
    exit_code: int | None = None
    machine: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Where its workspace is."""
    killed: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    """Whether its process was ended by a signal, or without a word."""


class LeaseRow(SQLModel, table=True):
    """The worker that has a session now. `expires` is in seconds of the database's clock."""

    __tablename__: ClassVar[str] = "leases"  # pyright: ignore[reportIncompatibleVariableOverride]

    session_id: str = Field(primary_key=True, foreign_key="sessions.id")
    epoch: int = Field(sa_type=BigInt)
    worker: str = Field(index=True)
    machine: str
    beats: int = Field(default=0, sa_type=BigInt)
    expires: float


class SnapshotRow(SQLModel, table=True):
    """The snapshot of the workspace that a turn ended with. The newest epoch's is the state that goes on."""

    __tablename__: ClassVar[str] = "snapshots"  # pyright: ignore[reportIncompatibleVariableOverride]

    session_id: str = Field(primary_key=True)
    epoch: int = Field(primary_key=True, sa_type=BigInt)
    name: str
    """Empty when none could be taken: the files are only on the machine of that turn."""
    time: str


class DeletedRow(SQLModel, table=True):
    """A deleted session whose snapshots have still to be removed from the store."""

    __tablename__: ClassVar[str] = "deleted_sessions"  # pyright: ignore[reportIncompatibleVariableOverride]

    session_id: str = Field(primary_key=True)


class ChannelRow(SQLModel, table=True):
    """A way of notification: every process that changes a status writes a notice for it."""

    __tablename__: ClassVar[str] = "notice_channels"  # pyright: ignore[reportIncompatibleVariableOverride]

    name: str = Field(primary_key=True)


class NoticeRow(SQLModel, table=True):
    """The outbox: one notification on one channel. `state` is pending, delivered or given_up."""

    __tablename__: ClassVar[str] = "notices"  # pyright: ignore[reportIncompatibleVariableOverride]
    __table_args__ = (Index("notices_due", "state", "next_time"),)

    id: str = Field(primary_key=True)
    """The same at every attempt: what a receiver tells a repetition by."""
    channel: str
    session_id: str = Field(index=True)
    status: str
    data: str
    """What it says, as JSON."""
    time: str
    state: str = "pending"
    attempts: int = 0
    next_time: str
    claimed_until: str | None = None
    """While somebody delivers it: until when nobody else may."""
    error: str = ""
    """Why the last attempt failed."""


class EstimateRow(SQLModel, table=True):
    """Estimate against actual, one row per approved plan and phase, and one for the whole run (`phase` = `total`)."""

    __tablename__: ClassVar[str] = "estimates"  # pyright: ignore[reportIncompatibleVariableOverride]

    session_id: str = Field(primary_key=True)
    plan_hash: str = Field(primary_key=True)
    phase: str = Field(primary_key=True)
    account: str = Field(index=True)
    workflow: str
    base_model: str
    outcome: str
    """How the run ended: succeeded, failed, cancelled."""
    settled: bool = False
    """Whether `actual_micros` is final."""
    low_micros: int = Field(sa_type=BigInt)
    expected_micros: int = Field(sa_type=BigInt)
    high_micros: int = Field(sa_type=BigInt)
    actual_micros: int = Field(sa_type=BigInt)
    estimated_seconds: float | None = None
    actual_seconds: float | None = None
    time: str
