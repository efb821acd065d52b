"""Bodies of the Agent API, as clients see them. Camel case; unknown fields of requests are refused."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from agent.states import Status
from gateway.allowance import Allowance
from gateway.grants import CostSummary
from pilotlight.clock import as_utc
from pilotlight.money import Dollars
from pilotlight.plan import Phase
from pilotlight.question import Decision, Question
from pilotlight.wire import Wire


def _reject_nul(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain the NUL character")
    return value


Text = Annotated[
    str, StringConstraints(min_length=1, max_length=20_000, strip_whitespace=True), AfterValidator(_reject_nul)
]
"""Words of the user: not empty."""
RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
QuestionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")]
Gated = Literal["plan_approval", "promotion", "spend_increase"]
Time = Annotated[datetime, AfterValidator(as_utc)]


class AutoApprove(Wire):
    """A ceiling below which plans are approved by record, set by a person in advance [DESIGN section 6]."""

    max_usd: Dollars
    expire_time: Time
    kinds: list[Gated] = Field(default=["plan_approval"], min_length=1, max_length=3)
    """Which approvals it gives: of the first plan only, unless more is said."""


class AutoApproveView(AutoApprove):
    """The ceiling, and the e-mail of the person who set it."""

    set_by: str


class CreateSession(Wire):
    """Body of POST sessions."""

    instruction: Text
    scope: Literal["optimize"] = "optimize"
    request_id: RequestId | None = None
    validate_only: bool = False
    spend_limit_usd: Dollars | None = None
    auto_approve: AutoApprove | None = None


class StructuredAnswer(Wire):
    """An answer given by a program: to approvals a decision, to other questions the values of its fields."""

    question_id: QuestionId
    decision: Decision | None = None
    values: dict[str, Any] = Field(default_factory=dict, max_length=50)
    text: str = Field(default="", max_length=20_000)
    plan_hash: Digest | None = None


class UpdateSession(Wire):
    """Body of :update: plain words or a structured answer, one of them."""

    instruction: Text | None = None
    answer: StructuredAnswer | None = None
    request_id: RequestId | None = None
    etag: str | None = Field(default=None, max_length=128)
    question_id: QuestionId | None = None
    plan_hash: Digest | None = None


class CleanupSession(Wire):
    """Body of :cleanup. Without `confirm` it only lists."""

    confirm: bool = False


class PlanView(Wire):
    """The current plan: its hash, its total, and the document that the hash is of."""

    plan_hash: str
    create_time: str
    approved_by: str | None
    approved_time: str | None
    low_usd: Decimal
    expected_usd: Decimal
    high_usd: Decimal
    wall_seconds: float | None
    document: dict[str, Any]


class ArtifactView(Wire):
    """A file of the workspace that the user may see."""

    path: str
    size_bytes: str
    update_time: str


class SessionView(Wire):
    """A session as clients see it. `statusInfo` of a waiting session is the exact question [A48]."""

    name: str
    session_id: str
    instruction: str
    scope: str
    status: Status
    status_info: str
    phase: Phase | None
    create_time: str
    update_time: str
    created_by: str
    created_key: str
    """ID of the key it was created with, whose limits bound it."""
    etag: str
    turn: int
    last_seq: str
    queue_position: int | None
    """Place in the queue while `pending`, from 1: the order in which turns begin if none of the present ones ends."""
    spend_limit_usd: Decimal | None
    """The smaller of what was asked for and its key's limit for one session."""
    auto_approve: AutoApproveView | None
    question: Question | None = None
    plan: PlanView | None = None
    cost: CostSummary | None = None
    planner_allowance: Allowance | None = None
    """For the planner's own model calls before the first plan; null when no model is configured."""
    artifacts: list[ArtifactView] | None = None


class ValidatedSession(Wire):
    """Reply to validateOnly: the request is fine, nothing was created."""

    validate_only: Literal[True] = True
    instruction: str
    scope: str
    spend_limit_usd: Decimal | None
    auto_approve: AutoApprove | None


class SessionPage(Wire):
    """Reply to list."""

    sessions: list[dict[str, Any]]
    next_page_token: str = ""
    total_size: int


class EventView(Wire):
    """One event of the log."""

    name: str
    session: str
    seq: str
    type: str
    create_time: str
    turn: int
    epoch: int
    payload: dict[str, Any]


class EventPage(Wire):
    """Reply to events: in order of seq."""

    events: list[EventView]
    next_page_token: str = ""
    status: Status


class ArtifactPage(Wire):
    """Reply to artifacts."""

    artifacts: list[ArtifactView]


class Handled(Wire):
    """What was done, or would be done, to one resource."""

    name: str
    action: Literal["listed", "cancelled", "deleted", "kept"]
    reason: str = ""


class CancelReply(Wire):
    """Reply to :cancel: the session, and each job it had started."""

    session: SessionView
    resources: list[Handled]


class CleanupReply(Wire):
    """Reply to :cleanup."""

    resources: list[Handled]


class EstimateView(Wire):
    """Estimate against actual of one phase of one approved plan; phase `total` is the whole run."""

    session: str
    plan_hash: str
    phase: str
    workflow: str
    base_model: str
    outcome: str
    settled: bool
    low_usd: Decimal
    expected_usd: Decimal
    high_usd: Decimal
    actual_usd: Decimal
    estimated_seconds: float | None
    actual_seconds: float | None
    create_time: str


class EstimatePage(Wire):
    """Reply to estimates. `ratio` is actual over expected, as the next plan's range uses it."""

    estimates: list[dict[str, Any]]
    next_page_token: str = ""
    total_size: int
    ratio: "RatioView"


class RatioView(Wire):
    """How the record bends the next estimate: 10th and 90th percentile of actual / expected; None before any run."""

    low: float | None
    high: float | None
    runs: int


class ErrorDetail(Wire):
    """The google.rpc status."""

    code: int
    status: str
    message: str
    details: list[dict[str, Any]]


class ErrorBody(Wire):
    """Every error of the Agent API."""

    error: ErrorDetail
