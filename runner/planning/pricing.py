"""From seconds to dollars with a range. The range is fitted to the record of earlier runs, else a stated factor."""

from decimal import Decimal
from typing import NamedTuple

from pilotlight.money import usd
from pilotlight.pricebook import PriceBook
from runner.context import EstimateRatio

DEFAULT_LOW, DEFAULT_HIGH = 0.5, 3.0
ENOUGH_RUNS = 3
GRACE_SECONDS = 300.0
"""Work is stopped at its highest cost; no job is stopped before it is so late (a setting, this is its default)."""
_WIDEST_LOW, _LEAST_HIGH = 0.9, 1.5


class Band(NamedTuple):
    """Factors on the expected cost, and where they come from."""

    low: float
    high: float
    text: str
    grace: float = GRACE_SECONDS
    """Seconds over the estimate that the highest cost always covers."""


class Amount(NamedTuple):
    """Dollars with a range; all None when the price or the time is unknown."""

    low: Decimal | None
    expected: Decimal | None
    high: Decimal | None


def fit_band(ratio: EstimateRatio | None, grace: float = GRACE_SECONDS) -> Band:
    """The band of actual over estimate. Its upper end is never below 1.5: it is the limit that work is stopped at."""
    if ratio is None or ratio.runs < ENOUGH_RUNS:
        text = f"half to {DEFAULT_HIGH:g} times the estimate, a default: fewer than {ENOUGH_RUNS} runs are on record"
        return Band(DEFAULT_LOW, DEFAULT_HIGH, text, grace)
    low, high = min(ratio.low, _WIDEST_LOW), max(ratio.high * 1.25, _LEAST_HIGH)
    return Band(low, high, f"fitted to {ratio.runs} earlier runs: {low:.2f} to {high:.2f} times the estimate", grace)


def price_seconds(prices: PriceBook, seconds: float | None, band: Band) -> Amount:
    """Machine time of one job or replica, priced by the hour."""
    if seconds is None or prices.machine_hour is None:
        return Amount(None, None, None)
    expected, low, high = (
        usd(Decimal(str(value)) / 3600 * prices.machine_hour)
        for value in (seconds, seconds * band.low, max(seconds * band.high, seconds + band.grace))
    )
    return Amount(low, expected, high)
