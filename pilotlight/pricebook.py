"""The dated price book of a backend. A missing price is None and stays unknown: it is never guessed [DESIGN 8]."""

from datetime import date
from decimal import Decimal
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict


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

    def describe(self) -> str:
        """For the plan: which book, of which date, from where."""
        return f"{self.backend} price book of {self.date.isoformat()} ({self.source})"


def load_prices(backend: str) -> PriceBook:
    """Read `pilotlight/prices/<backend>.yaml`. Raises pydantic.ValidationError on a malformed book."""
    text = resources.files("pilotlight").joinpath(f"prices/{backend}.yaml").read_text()
    return PriceBook.model_validate(yaml.safe_load(text))
