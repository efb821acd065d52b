"""The dated price book of a backend. A missing price is None and stays unknown: it is never guessed [DESIGN 8]."""

from collections.abc import Collection
from datetime import date
from decimal import Decimal
from importlib import resources
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field


class ModelPrice(BaseModel):
    """USD per million tokens of one model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    cache_write: Decimal = Field(ge=0)
    """Input tokens that are written into the prompt cache for five minutes."""
    cache_read: Decimal = Field(ge=0)
    holds_up_to: int | None = Field(default=None, gt=0)
    """Prompt tokens up to which this price holds; above them it is unknown."""


class PlannerPrices(BaseModel):
    """Prices of the models that the planner itself may use. A model that is not here, or null, has no known price."""

    model_config = ConfigDict(extra="forbid")

    date: date
    source: str
    currency: str
    models: dict[str, ModelPrice | None]

    def only(self, models: Collection[str]) -> "PlannerPrices":
        """The same book with these models alone."""
        return self.model_copy(update={"models": {m: price for m, price in self.models.items() if m in models}})


class PriceBook(BaseModel):
    """Prices in USD. `machine_hour`: one training job or one replica for one hour."""

    model_config = ConfigDict(extra="forbid")

    backend: str
    date: date
    source: str
    currency: str
    machine_hour: Decimal | None
    training_per_million_tokens: Decimal | None
    inference_per_million_tokens: Decimal | None
    planner: PlannerPrices | None = None
    """The gateway adds it: a planner's own calls go to another provider than the platform's."""

    def describe(self) -> str:
        """For the plan: which book, of which date, from where."""
        return f"{self.backend} price book of {self.date.isoformat()} ({self.source})"


def load_prices(backend: str) -> PriceBook:
    """Read `pilotlight/prices/<backend>.yaml`. Raises pydantic.ValidationError on a malformed book."""
    text = resources.files("pilotlight").joinpath(f"prices/{backend}.yaml").read_text()
    return PriceBook.model_validate(yaml.safe_load(text))


def load_planner_prices(path: Path | None = None) -> PlannerPrices:
    """Read the book at `path`, else the one that comes with Pilotlight.

    Raises pydantic.ValidationError on a malformed book, OSError when `path` cannot be read.
    """
    shipped = resources.files("pilotlight").joinpath("prices/planner.yaml")
    text = path.read_text("utf-8") if path else shipped.read_text("utf-8")
    return PlannerPrices.model_validate(yaml.safe_load(text))
