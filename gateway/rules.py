"""Whether a grant covers a call, and the most that the call can cost."""

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from gateway.tokens import worst_micros
from gateway.uncovered import Uncovered
from manifest.facts import Call
from pilotlight.money import to_micros
from pilotlight.plan import Rule
from pilotlight.pricebook import PriceBook

LEAST_JOB_SECONDS = 5
"""What is ended at its cost limit runs until the reaper has looked at it: a grant for less holds nothing."""
_DURATION = re.compile(r"([0-9]{1,9})(?:\.[0-9]{1,9})?s\Z")


class Grant(NamedTuple):
    """What a call is checked against: the columns of gateway.tables.GrantRow of these names."""

    id: str
    session: str
    method: str
    rules: str
    max_calls: int
    max_cost_micros: int
    max_hours: float | None
    text: str
    expire_time: str
    prices: str
    calls: int
    reserved_micros: int
    settled_micros: int


@dataclass(frozen=True)
class Worst:
    """The worst case of one call: what is reserved for it, and for running things the price and the time limit."""

    micros: int
    hour_micros: int | None = None
    hours: float | None = None
    replicas: int = 1


def check_rules(rules: dict[str, Rule], call: Call) -> None:
    """Every field of the call must be covered by a rule, and every rule must be met, by absent fields too.

    An absent field means the platform's default, which nobody approved, unless the rule allows null. Fields that the
    registry calls free need no rule. Raises Uncovered.
    """
    fields = _fields(rules, call)
    for name, value in fields.items():
        rule = rules.get(name)
        if rule is None and name.removeprefix("body.").split(".")[0] in call.route.free:
            continue
        if rule is None:
            raise Uncovered("spend.rules", f"{name} is not part of what was approved")
        if not rule.allows(value):
            raise Uncovered("spend.rules", f"{name} is {_show(value)}, which is not what was approved")
    for name, rule in rules.items():
        if name not in fields and not rule.allows(None):
            raise Uncovered("spend.rules", f"{name} is missing, and its default was not approved")


def prices_of(grant: Grant, live: PriceBook) -> PriceBook:
    """The prices a grant is charged by: those it was approved with; a grant that no plan carries has the live ones."""
    return _read_book(grant.prices) if grant.prices else live


@lru_cache(256)
def _read_book(text: str) -> PriceBook:
    return PriceBook.model_validate_json(text)


def worst_case(grant: Grant, billing: str, call: Call, prices: PriceBook) -> Worst:
    """The most this call can cost under this grant. Raises Uncovered when nothing bounds it."""
    if billing == "deployment":
        return _worst_of_deployment(grant, call.body, prices)
    if billing == "call":
        return Worst(0 if paid_by_the_hour(call, prices) else worst_micros(call, prices))
    micros, hour = grant.max_cost_micros // grant.max_calls, _hour_micros(prices)
    if billing == "job" and micros < max(1, (hour or 0) * LEAST_JOB_SECONDS // 3600):
        raise Uncovered("spend.job", f"{micros} micro-dollars for a job are spent before it could be ended")
    return Worst(micros, hour)


def _worst_of_deployment(grant: Grant, body: dict[str, Any], prices: PriceBook) -> Worst:
    window = body.get("autoscalingPolicy", {}).get("scaleToZeroWindow", "")
    match = _DURATION.match(window) if isinstance(window, str) else None
    replicas = body.get("maxReplicaCount", 1)
    if type(body.get("minReplicaCount")) is not int or body["minReplicaCount"] != 0:
        raise Uncovered("spend.deployment", "a deployment of a session must be created with minReplicaCount 0")
    if match is None or int(match[1]) == 0:
        raise Uncovered("spend.deployment", "a deployment of a session needs autoscalingPolicy.scaleToZeroWindow")
    if type(replicas) is not int or replicas < 1:
        raise Uncovered("spend.deployment", "maxReplicaCount must be a whole number from 1")
    if grant.max_hours is None or prices.machine_hour is None:
        missing = "a limit in hours" if grant.max_hours is None else "a price per hour"
        raise Uncovered("spend.deployment", f"without {missing} nothing bounds what this deployment can cost")
    exact = Decimal(str(grant.max_hours)) * replicas * prices.machine_hour * 1_000_000
    micros = int(exact.to_integral_value(ROUND_CEILING))
    # the plan's own rounding may be half a micro-dollar below ours
    micros = grant.max_cost_micros if micros - grant.max_cost_micros == 1 else micros
    return Worst(micros, _hour_micros(prices), grant.max_hours, replicas)


def _fields(rules: dict[str, Rule], call: Call) -> dict[str, Any]:
    fields: dict[str, Any] = {f"path.{key}": value for key, value in call.params.items() if key != "account"}
    for key, value in call.query:
        name = f"query.{key}"
        repeated = call.route.query[key].repeated
        fields[name] = [*fields.get(name, []), value] if repeated else value
    _flatten(rules, "body", call.body or {}, fields)
    return fields


def _flatten(rules: dict[str, Rule], prefix: str, value: dict[str, Any], into: dict[str, Any]) -> None:
    for key, inner in value.items():
        name = f"{prefix}.{key}"
        if "." in key:
            raise Uncovered("spend.rules", f"{_show(name)} would read as a field within another")
        if isinstance(inner, dict) and name not in rules and any(other.startswith(f"{name}.") for other in rules):
            _flatten(rules, name, inner, into)
        else:
            into[name] = inner


def paid_by_the_hour(call: Call, prices: PriceBook) -> bool:
    """Whether a call is inference on a dedicated deployment: its machine time is granted, and its tokens are free."""
    if call.route.surface != "platform":
        return False
    return prices.backend == "local" or on_deployment(call)


def on_deployment(call: Call) -> bool:
    """Whether inference addresses a deployment, which is paid by the hour, not by the call."""
    return any(access == "target" and "/deployments/" in name for access, name in call.references)


def _hour_micros(prices: PriceBook) -> int | None:
    return None if prices.machine_hour is None else to_micros(prices.machine_hour)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
