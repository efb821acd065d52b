"""A price tag as it is added up: lines with ranges, grants, and what has no price."""

from decimal import Decimal
from typing import NamedTuple

from pilotlight.money import usd
from pilotlight.plan import Cost, CostLine, GrantSpec, Phase
from pilotlight.pricebook import PriceBook
from runner.planning.pricing import Amount, Band, price_seconds

_SETUP_SECONDS = 5.0


class Priced(NamedTuple):
    """A recipe with its price tag."""

    cost: Cost
    grants: list[GrantSpec]

    def granted(self) -> Decimal:
        """What the grants add up to."""
        return sum((grant.max_cost for grant in self.grants), Decimal(0))


class Sheet:
    """Lines and grants as they are added up."""

    def __init__(self, prices: PriceBook, band: Band) -> None:
        self.prices, self.band = prices, band
        self.lines: list[CostLine] = []
        self.grants: list[GrantSpec] = []
        self.unknown: list[str] = []

    def priced(self, seconds: float | None) -> Amount:
        """Machine time of one job or replica."""
        return price_seconds(self.prices, seconds, self.band)

    def add(self, phase: Phase, kind: str, text: str, amount: Amount, seconds: float | None) -> None:
        """Add a line; one without a price is listed as unknown."""
        if amount.expected is None or amount.low is None or amount.high is None:
            self.unknown.append(text)
            amount = Amount(Decimal(0), Decimal(0), Decimal(0))
        values = {"phase": phase, "kind": kind, "text": text, "seconds": seconds} | amount._asdict()
        self.lines.append(CostLine.model_validate(values))

    def total(self, so_far: Decimal) -> Priced:
        """The whole price tag."""
        seconds = [line.seconds for line in self.lines]
        known = [value for value in seconds if value is not None]
        cost = Cost(
            lines=self.lines,
            so_far=so_far,
            wall_seconds=sum(known) + _SETUP_SECONDS if len(known) == len(seconds) else None,
            price_source=self.prices.describe(),
            unknown=self.unknown,
        )
        return Priced(cost, self.grants)


def slowest_of(seconds: list[float | None]) -> float | None:
    """The longest of alternatives; None where one is unknown."""
    known = [value for value in seconds if value is not None]
    return max(known) if len(known) == len(seconds) else None


def hours_price(prices: PriceBook, hours: float) -> Decimal | None:
    """So many hours of one replica; None where its price is unknown."""
    return None if prices.machine_hour is None else usd(Decimal(str(hours)) * prices.machine_hour)


def within(amount: Amount, limit: Decimal | None) -> Amount:
    """An amount whose highest value is the limit that the gateway ends the deployment at."""
    if amount.low is None or amount.expected is None or limit is None:
        return Amount(None, None, None)
    return Amount(min(amount.low, limit), min(amount.expected, limit), limit)


def total_of(amounts: list[Amount]) -> Amount:
    """The sum, unknown where one of them is."""
    lows = [amount.low for amount in amounts if amount.low is not None]
    expected = [amount.expected for amount in amounts if amount.expected is not None]
    highs = [amount.high for amount in amounts if amount.high is not None]
    if len(expected) < len(amounts):
        return Amount(None, None, None)
    return Amount(sum(lows, Decimal(0)), sum(expected, Decimal(0)), sum(highs, Decimal(0)))
