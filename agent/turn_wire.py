"""Bodies of the Turn API, between a runner and the control process."""

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from agent.states import Status
from agent.wire import Handled, RatioView
from pilotlight.pricebook import PriceBook
from pilotlight.wire import Wire


class TurnInstruction(Wire):
    """Something the user said after the first instruction that answers no question."""

    text: str
    time: str


class TurnContext(Wire):
    """What a turn is told when it starts, or when it looks for new instructions at a safe point."""

    session: str
    account: str
    turn: int
    epoch: int
    instruction: str
    instructions: list[TurnInstruction]
    scope: str
    status: Status
    budget_usd: Decimal | None
    backend: str
    public_url: str
    prices: PriceBook
    grace_seconds: float
    """The most that a job may cost covers being so much later than estimated."""
    no_progress_seconds: float
    """A running job that reports no new step for so long is stopped; longer for a job whose steps take longer."""
    estimate_ratio: RatioView | None
    """None before the first finished run."""
    graph_version: int | None = None
    planner_models: list[str] = Field(default_factory=list)
    """Models that the planner may call; none where no provider's key is configured."""


class NewEvent(Wire):
    """One event to append. `key` makes a retry harmless."""

    type: Literal["phase", "status_info", "job", "cost", "artifact", "report", "error"]
    payload: dict[str, Any]
    key: str = Field(min_length=1, max_length=300)


class NewEvents(Wire):
    """Appended in order, all or none."""

    events: list[NewEvent] = Field(min_length=1, max_length=500)


class Delta(Wire):
    """A piece of text that is being written. `channel` tells texts that are written at the same time apart."""

    channel: str = Field(min_length=1, max_length=100)
    text: str = Field(min_length=1, max_length=8192)


class EventsReply(Wire):
    """Where the log ends now."""

    last_seq: int


class PlanReply(Wire):
    """The plan as kept."""

    plan_hash: str
    plan_markdown: str


class QuestionReply(Wire):
    """`answered`: the answer is there already, and the turn may go on."""

    question_id: str
    answered: bool


class StopJobs(Wire):
    """Which of the session's own jobs to stop, by their resource names; none named means all."""

    jobs: list[str] = Field(default_factory=list, max_length=100)


class StoppedJobs(Wire):
    """The session's jobs, each with what was done to it."""

    jobs: list[Handled]


class EvaluatedRow(Wire):
    """One call of an evaluator: the row of the dataset, and what a model answered to it."""

    row: dict[str, Any]
    completion: str


class EvaluateRequest(Wire):
    """Foreign source whose function `evaluate(row, completion)` is to be called for each row, in its own sandbox.

    `requirements` are pinned packages that it gets instead of Pilotlight's.
    """

    source: str = Field(min_length=1, max_length=256 << 10)
    requirements: list[str] = Field(default_factory=list[str], max_length=100)
    rows: list[EvaluatedRow] = Field(min_length=1, max_length=500)


class EvaluatedValue(Wire):
    """What one call returned, or why it did not. It is foreign code that says so, `seconds` included."""

    value: Any = None
    error: str = ""
    seconds: float = 0.0


class EvaluateReply(Wire):
    """In the order of the rows, with the head of what the code printed."""

    results: list[EvaluatedValue]
    log: str


class Finish(Wire):
    """The end of the turn's work."""

    status: Literal["succeeded", "failed", "cancelled"]
    message: str = Field(default="", max_length=20_000)
