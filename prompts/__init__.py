"""What the user is shown (and what a planner model is told), as Jinja templates rendered strictly.

A missing value is an error, never an empty string. Text that comes from data goes through `code` or `plain`, which
leave neither control characters nor Markdown that could act.
"""

import math
import pprint
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from pilotlight.money import show
from pilotlight.plan import Gate, Plan

OPERATORS = {">": "above", ">=": "at least", "<": "below", "<=": "at most", "==": "exactly"}
"""How a target is compared, in words."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~])")


def render(name: str, **values: Any) -> str:
    """Render a template of this package; raises jinja2.UndefinedError when a value is missing."""
    return _environment().get_template(name).render(**values).strip() + "\n"


def render_plan(plan: Plan) -> str:
    """The approval screen: from the typed plan, never from prose [DESIGN 6]."""
    name = "increase.md.j2" if plan.increase else "rft_plan.md.j2" if plan.registration else "plan.md.j2"
    return render(name, plan=plan)


def render_allowed(plan: Plan, gate: Gate) -> str:
    """What approving one gate of a plan allows, and for how much at most."""
    return render("allowed.md.j2", plan=plan, gates=(gate,))


def show_seconds(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def plain(text: object, limit: int = 300) -> str:
    """One line of text that renders as itself."""
    return _MARKUP.sub(r"\\\1", _one_line(text, limit))


def code(text: object, limit: int = 80) -> str:
    """A code span; nothing in it is Markdown, and it fits into a table cell."""
    return "`" + _one_line(text, limit).replace("`", "'").replace("|", "¦") + "`"


def _one_line(text: object, limit: int = 300) -> str:
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(text))
    short = " ".join(visible.split())
    return short if len(short) <= limit else short[: limit - 1] + "…"


def _value(value: object) -> str:
    """A plan value for people; learning rates as 1e-4 is read more easily than 0.0001."""
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return _decimal(value) if isinstance(value, float) else plain(value)


def _decimal(value: float) -> str:
    """Small numbers as `1.5e-4`, others as they are written."""
    if value == 0 or abs(value) >= 0.001:
        return f"{value:g}"
    digits, exponent = f"{value:.3e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "n/a" if value is None else f"{value * 100:.{digits}f} %"


def _number(value: float | None, digits: int = 3) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def _interval(values: Sequence[float]) -> str:
    """`82.0 % (76.1 to 86.7)` of a value with its bounds."""
    mean, low, high = (value * 100 for value in values)
    return f"{mean:.1f} % ({low:.1f} to {high:.1f})"


def _points(values: Sequence[float]) -> str:
    """`+12.0 points (+4.1 to +19.8)` of a difference of shares with its bounds."""
    mean, low, high = (value * 100 for value in values)
    return f"{mean:+.1f} points ({low:+.1f} to {high:+.1f})"


def _bounds(values: Sequence[float], signed: bool = False) -> str:
    """` (0.412 to 0.530)` of a value with its bounds, to follow it."""
    low, high = (_signed(value) if signed else f"{value:.3f}" for value in values[1:])
    return f" ({low} to {high})"


def _signed(value: float) -> str:
    return f"{value:+.3f}"


def _perplexity(loss: float) -> str:
    """Of a mean loss in nats per token; a huge one in powers of ten."""
    value = math.exp(min(loss, 700.0))
    return f"{value:,.2f}" if value < 1e6 else f"{value:.2e}"


def _money(value: Decimal | float | str | None) -> str:
    return "unknown" if value is None else show(Decimal(str(value)))


def literal(value: object) -> str:
    """A Python literal that may stand in a fenced block: nothing in it can end the fence."""
    text = pprint.pformat(value, width=100, sort_dicts=False)
    return text.replace("`", "\\x60").replace("\n", "\n    ")


def code_literal(value: object) -> str:
    """A Python literal at the left margin of a generated program; whatever is in it, it is only a value."""
    return pprint.pformat(value, width=100, sort_dicts=False)


def _load(name: str) -> str | None:
    path = resources.files("prompts").joinpath(name)
    return path.read_text(encoding="utf-8") if path.is_file() else None


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_load), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters.update(
        money=_money,
        seconds=show_seconds,
        percent=_percent,
        bounds=_bounds,
        signed=_signed,
        perplexity=_perplexity,
        interval=_interval,
        points=_points,
        words=OPERATORS.__getitem__,
        number=_number,
        plain=plain,
        code=code,
        value=_value,
        literal=literal,
        code_literal=code_literal,
        line=_one_line,
        short=lambda name: str(name).rsplit("/", 1)[-1],
    )
    return environment
