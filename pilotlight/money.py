"""US dollars as exact decimals. Ledgers hold whole micro-dollars, so that sums in SQL are exact."""

from decimal import ROUND_HALF_EVEN, ROUND_UP, Decimal
from typing import Annotated

from pydantic import Field

MICRO = Decimal("0.000001")
Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=6)]
"""An amount in a request."""


def usd(value: str | int | float | Decimal) -> Decimal:
    """An amount of dollars, rounded to micro-dollars."""
    return Decimal(str(value)).quantize(MICRO, ROUND_HALF_EVEN)


def to_micros(amount: Decimal) -> int:
    """Whole micro-dollars, rounded up: a reservation is never too small."""
    return int((amount / MICRO).to_integral_value(ROUND_UP))


def from_micros(micros: int) -> Decimal:
    """Dollars of a ledger entry."""
    return usd(Decimal(micros) * MICRO)


def show(amount: Decimal) -> str:
    """Text for people: cents from a dollar up, else as many digits as tell the amount apart from zero."""
    if amount == 0:
        return "$0.00"
    if abs(amount) >= 1:
        return f"${amount:,.2f}"
    return f"${amount.quantize(Decimal('0.0001') if abs(amount) >= Decimal('0.0001') else MICRO)}"
