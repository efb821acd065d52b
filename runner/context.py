"""What the control process tells a turn when it starts: GET /turn/v1/context."""

from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pilotlight.pricebook import PriceBook


class Inbound(BaseModel):
    """Base of what we read from the control process; a newer one may say more than we know."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Instruction(Inbound):
    """Something the user said that does not answer a question."""

    text: str
    time: datetime | None = None


class EstimateRatio(Inbound):
    """Actual over estimated cost in earlier runs: the band that covers most of them."""

    low: float
    high: float
    runs: int


class TurnContext(Inbound):
    """One turn of one session."""

    session: str
    account: str
    turn: int
    epoch: int
    instruction: str
    instructions: list[Instruction] = Field(default_factory=list)
    scope: str = "optimize"
    status: str = "running"
    budget_usd: Decimal | None = None
    backend: str = "local"
    public_url: str
    prices: PriceBook
    grace_seconds: float = 300.0
    no_progress_seconds: float = 1800.0
    estimate_ratio: EstimateRatio | None = None
    graph_version: int | None = None
    planner_models: list[str] = Field(default_factory=list)

    def said(self) -> list[str]:
        """All instructions of the session in order, the first one included once."""
        later = [item.text for item in self.instructions]
        return later if later[:1] == [self.instruction] else [self.instruction, *later]
