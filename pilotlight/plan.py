"""The typed plan: what is proposed, what it costs, and which calls its approval grants.

Its hash is over canonical JSON, so an approval binds to exactly these values [DESIGN section 6]. The runner writes
it, the Agent API stores and shows it, the gateway enforces its grants: none of them trusts another's reading of it.
"""

import hashlib
import json
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pilotlight.tasks import Classification, Preference, Registration
from pilotlight.wire import Wire

Scalar = str | int | float | bool | None
Gate = Literal["plan_approval", "promotion", "comparison"]


class Phase(StrEnum):
    """The seven phases every session passes, in this order [A92]."""

    INSPECT = "inspect"
    PLAN = "plan"
    SWEEP = "sweep"
    TRAIN = "train"
    EVALUATE = "evaluate"
    DEPLOY = "deploy"
    REPORT = "report"


class PlanValue(Wire):
    """One decision of the plan and where it comes from; an unknown one is never guessed."""

    name: str
    label: str
    value: Scalar | list[Scalar]
    source: Literal["set", "default", "unknown"]
    note: str = ""


class Candidate(Wire):
    """One training run of the sweep."""

    id: str
    base_model: str
    lora_rank: int
    learning_rate: float
    epochs: float
    beta: float | None = None
    """Of preference learning: how strongly the model is held to its base (DPO), or the pairs count (ORPO)."""

    def settings(self) -> str:
        """In words, without the base model and the epochs."""
        beta = "" if self.beta is None else f", beta {self.beta:g}"
        return f"rank {self.lora_rank}, learning rate {self.learning_rate:g}{beta}"


class PlanDataset(Wire):
    """The data as the plan uses it. Row counts, not bytes; tokens are of one epoch of the training side."""

    source: str
    content_hash: str
    rows: int
    train_rows: int
    heldout_rows: int
    sweep_rows: int
    train_tokens: int
    heldout_tokens: int
    sweep_tokens: int
    seed: int
    eval_dataset: str | None = None
    split: str
    """In words: how the held-out side was made."""


class CostLine(Wire):
    """One line of the preview [A110, A111]. Amounts in USD; seconds of wall time, None when unknown."""

    phase: Phase
    kind: Literal["training", "inference", "deployment", "planner"]
    text: str
    low: Decimal = Field(ge=0)
    expected: Decimal = Field(ge=0)
    high: Decimal = Field(ge=0)
    seconds: float | None = None


class Cost(Wire):
    """The preview: total with range, wall time, per phase and per kind. `high` is what approval authorises."""

    lines: list[CostLine]
    so_far: Decimal = Field(default=Decimal(0), ge=0)
    wall_seconds: float | None = None
    price_source: str
    """Which price book, of which date."""
    unknown: list[str] = Field(default_factory=list)
    """What could not be priced; never guessed."""

    def total(self, bound: Literal["low", "expected", "high"] = "expected") -> Decimal:
        """Sum over all lines of one bound."""
        return sum((getattr(line, bound) for line in self.lines), Decimal(0))

    def by(self, axis: Literal["phase", "kind"]) -> dict[str, Decimal]:
        """Expected cost per phase or per kind, in order of first appearance."""
        sums: dict[str, Decimal] = {}
        for line in self.lines:
            key = str(getattr(line, axis))
            sums[key] = sums.get(key, Decimal(0)) + line.expected
        return sums


class Rule(Wire):
    """What one request field may be under a grant. One of: `equals`, `one_of`, `max_bytes`, `minimum`/`maximum`."""

    equals: Any = None
    one_of: list[Any] | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_bytes: int | None = None
    """For content that cannot be listed in advance (the messages of an evaluation): any value of this size as JSON."""
    is_equals: bool = False

    @model_validator(mode="after")
    def _check_one_kind(self) -> Self:
        ranged = self.minimum is not None or self.maximum is not None
        kinds = [self.is_equals, self.one_of is not None, self.max_bytes is not None, ranged]
        if sum(kinds) != 1 or (self.equals is not None and not self.is_equals):
            raise ValueError("a rule is exactly one of equals (with isEquals), oneOf, maxBytes, minimum/maximum")
        return self

    @classmethod
    def exactly(cls, value: Any) -> "Rule":
        """The field must equal `value` (JSON equality, types included)."""
        return cls(equals=value, is_equals=True)

    def allows(self, value: Any) -> bool:
        """Whether `value` obeys the rule; bool is never a number, and types must agree."""
        if self.is_equals:
            return _same(value, self.equals)
        if self.one_of is not None:
            return any(_same(value, option) for option in self.one_of)
        if self.max_bytes is not None:
            return len(canonical_json(value).encode()) <= self.max_bytes
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)


class GrantSpec(Wire):
    """A right to spend that approval creates: closed over the request's fields, bounded in cost, calls and time.

    `rules` maps a field to its rule: `body.baseModel`, `query.deploymentId`, `path.deployment`. A field of the request
    without a rule is refused. `max_cost` bounds all calls of this grant together.
    """

    id: str
    gate: Gate
    """Which approval activates it."""
    method: str
    """RPC name, as in pilot.yaml."""
    rules: dict[str, Rule]
    max_calls: int = Field(ge=1)
    max_cost: Decimal = Field(ge=0)
    max_hours: float | None = None
    """For deployments: wall hours after which the gateway's reaper ends it."""
    phase: Phase
    text: str


class Stop(Wire):
    """A part of an approved plan that reached its limit, or failed. `spent` is what it had cost then, in dollars."""

    part: Literal["candidate", "final", "evaluation", "deployment"]
    candidate: str = ""
    """Its ID, where the part is a candidate."""
    resource: str = ""
    """What was ended or failed; empty when the gateway refused to begin it."""
    limit: Literal["cost", "time", "calls", "expired", "session", "failed"]
    """Which limit: money, time, the number or money of its calls, the approval's age, the session's spend limit.

    `failed` is none: the work itself failed or was stopped, and is to be done again. It then says nothing of money.
    """
    approved: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    percent: float | None = None
    """How far it had come; None when that cannot be told."""
    expected: Decimal | None = None
    """What all of it costs at the speed it had; None when that cannot be told."""


class Increase(Wire):
    """Why more is asked: this plan goes on where the plan `previous` (its hash) reached a limit."""

    previous: str
    phase: Phase
    stops: list[Stop] = Field(min_length=1)
    finished: list[str] = Field(default_factory=list)
    """IDs of the candidates that are finished: they are kept, and not paid again."""
    held: Decimal = Decimal(0)
    """What is reserved for things of the session that still exist."""


class PlanOffer(Wire):
    """Another form of the plan that can be had for the asking, and what all of it would cost then."""

    words: str
    """What to reply for it."""
    text: str
    expected: Decimal = Field(ge=0)
    high: Decimal = Field(ge=0)
    seconds: float | None = None


class Plan(Wire):
    """Everything the user approves, and nothing else."""

    schema_version: Literal[1] = 1
    session: str
    workflow: Literal["sft", "classification", "preference", "rft_evaluator"]
    instruction: str
    dataset: PlanDataset
    base_models: list[str]
    values: list[PlanValue]
    candidates: list[Candidate]
    skipped: dict[Phase, str] = Field(default_factory=dict)
    findings: list[str] = Field(default_factory=list)
    cuts: list[str] = Field(default_factory=list)
    """What was left out to fit the budget [GAP 16]."""
    budget: Decimal | None = None
    cost: Cost
    grants: list[GrantSpec]
    expires: datetime
    increase: Increase | None = None
    """Set when this plan asks for more, for the rest of an approved one."""
    classification: Classification | None = None
    preference: Preference | None = None
    offers: list[PlanOffer] = Field(default_factory=list)
    registration: Registration | None = None
    packages: list[str] = Field(default_factory=list)
    """Pinned packages that approval allows to be installed for the evaluator: `name==version`."""

    @model_validator(mode="after")
    def _check_grant_ids(self) -> Self:
        ids = [grant.id for grant in self.grants]
        if twice := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"grants share an ID: {sorted(twice)[:5]}")
        return self

    @model_validator(mode="after")
    def _check_grants_within_preview(self) -> Self:
        granted = sum((grant.max_cost for grant in self.grants), Decimal(0))
        if granted > self.cost.total("high"):
            raise ValueError(f"grants add up to {granted}, more than the shown maximum {self.cost.total('high')}")
        held = self.increase.held if self.increase else Decimal(0)
        if self.budget is not None and self.cost.so_far + held + granted > self.budget:
            raise ValueError(f"grants add up to {granted}, more than the budget {self.budget}")
        return self

    def canonical(self) -> str:
        """Canonical JSON: sorted keys, no spaces, decimals as strings."""
        document = self.model_dump(mode="json", by_alias=True)
        # plans from before there were these keep their hash
        newer = (document, ("increase", "classification", "preference", "registration", "offers", "packages"))
        for part, later in (newer, *_betas(document)):
            for name in later:
                if not part[name]:
                    del part[name]
        return canonical_json(document)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hex: the plan hash."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def _betas(document: dict[str, Any]) -> list[tuple[dict[str, Any], tuple[str, ...]]]:
    return [(candidate, ("beta",)) for candidate in document["candidates"]]


def canonical_json(value: Any) -> str:
    """The one text form of a JSON value that hashes are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return canonical_json(left) == canonical_json(right) if isinstance(left, dict | list) else left == right
