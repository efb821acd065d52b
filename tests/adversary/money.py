"""Spend, recomputed: what reached the platform against what people approved, by the platform's own clock and price."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.adversary.case import Case, Json
from tests.adversary.manifest import Entry
from tests.adversary.platform import HOUR_USD, Seen

_MICRO = 1_000_000
REACTION_SECONDS = 15.0
"""What has reached its limit may run on this long (the reaper looks every 2 s, and answers of the platform get lost),
and while the control process is away. What is let in is held to the micro-dollar all the same."""
Calls = list[tuple[Seen, Entry | None, str, Json | None]]


@dataclass
class Right:
    """One grant as the person read it, and what was done with it."""

    spec: Json
    limit: int
    """Micro-dollars."""
    used: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    """(created resource, worst case) of every call that the platform carried out."""


def check_money(case: Case, calls: Calls) -> Iterator[tuple[str, str]]:
    """Every spending call was covered by an approval before it, and what they add up to was approved."""
    rights: dict[str, Right] = {}
    for seen, entry, session, row in calls:
        if not session or entry is None or entry.kind not in ("spend", "infer"):
            continue
        where = f"#{seen.number} {entry.method} of {session}"
        name = str(row["detail"].get("grant", "")) if row else ""
        right = rights.get(name) or _find_right(case, session, name, seen.time)
        if right is None:
            yield "unapproved", f"{where}: nobody had approved {name or 'it'}"
            continue
        rights[name] = right
        problem = _uncovered(right.spec, entry, seen)
        if problem:
            yield "uncovered", f"{where}: {problem}"
            continue
        if not 200 <= seen.code < 300:
            continue
        right.used.append((seen.created, _worst(right.spec, entry, seen)))
        if len(right.used) > right.spec["maxCalls"]:
            yield "calls", f"{where}: call {len(right.used)} of {right.spec['maxCalls']} under {name}"
        yield from _check_sum(case, name, right, seen.time, where)
        yield from _check_session(case, session, rights, seen.time, where)
    for name, right in rights.items():
        yield from _check_sum(case, name, right, case.end, "at the end")


def check_ledger(case: Case) -> Iterator[str]:
    """Sums of the ledger agree with its rows, and nothing is negative."""
    for grant in case.grants:
        mine = [row for row in case.reservations if row["grant_id"] == grant["id"]]
        active = sum(row["amount_micros"] for row in mine if row["state"] == "active")
        settled = sum(row["accrued_micros"] for row in mine if row["state"] == "settled")
        if (active, settled) != (grant["reserved_micros"], grant["settled_micros"]) or min(active, settled) < 0:
            kept = (grant["reserved_micros"], grant["settled_micros"])
            yield f"{grant['id']}: (reserved, settled) is {kept}, its rows say {(active, settled)}"
        late = sum(_reaction(case, row["resource"], case.end) for row in mine)
        if active > grant["max_cost_micros"] or active + settled > grant["max_cost_micros"] + late:
            yield f"{grant['id']}: {active} + {settled} is above {grant['max_cost_micros']}"
        if not 0 <= grant["calls"] <= grant["max_calls"]:
            yield f"{grant['id']}: {grant['calls']} calls of {grant['max_calls']}"
    for limit in case.limits:
        mine = [grant for grant in case.grants if grant["session"] == limit["session"]]
        held = sum(grant["reserved_micros"] + grant["settled_micros"] for grant in mine)
        if limit["held_micros"] != held or held < 0:
            yield f"{limit['session']}: holds {limit['held_micros']}, its grants {held}"


def totals(case: Case) -> tuple[int, int]:
    """Micro-dollars that people and ceilings approved, and that the platform billed or may still bill."""
    approved = sum(grant["max_cost_micros"] for grant in case.grants)
    return approved, sum(
        row["amount_micros"] if row["state"] == "active" else row["accrued_micros"] for row in case.reservations
    )


def _find_right(case: Case, session: str, name: str, moment: float) -> Right | None:
    """The grant of that name in a plan that was approved for this session before `moment`."""
    owner, _, rest = name.partition("/")
    prefix, _, spec_id = rest.partition("/")
    if owner != session or not prefix:
        return None
    documents = [
        (one.document, "promotion" if one.kind == "promotion" else "plan_approval")
        for one in case.approvals
        if one.session == session and one.plan_hash.startswith(prefix) and one.time <= moment
    ]
    if "autoApprove" in case.sessions.get(session, {}):
        kept = [plan for (owner, digest), plan in case.plans.items() if owner == session and digest.startswith(prefix)]
        documents += [(plan, gate) for plan in kept for gate in ("plan_approval", "promotion")]
    for document, gate in documents:
        for spec in document["grants"]:
            if spec["id"] == spec_id and spec["gate"] == gate:
                return Right(spec, _micros(spec["maxCost"]))
    return None


def _check_sum(case: Case, name: str, right: Right, moment: float, where: str) -> Iterator[tuple[str, str]]:
    let_in = sum(_committed(case, resource, worst, moment) for resource, worst in right.used)
    if let_in > right.limit + len(right.used):
        yield "overspent", f"{where}: {let_in} micro-dollars let in under {name}, approved are {right.limit}"
    billed = sum(_billed(case, resource, moment) for resource, _ in right.used)
    if billed > right.limit + sum(_reaction(case, resource, moment) for resource, _ in right.used):
        yield "overrun", f"{where}: {billed} micro-dollars billed under {name}, approved are {right.limit}"


def _check_session(
    case: Case, session: str, rights: dict[str, Right], moment: float, where: str
) -> Iterator[tuple[str, str]]:
    """The limits that the session was created with, and the sum of all that was approved for it."""
    used = [use for name, right in rights.items() if name.startswith(f"{session}/") for use in right.used]
    spent = sum(_committed(case, resource, worst, moment) for resource, worst in used)
    body = case.sessions[session]
    if "spendLimitUsd" in body and spent > _micros(body["spendLimitUsd"]):
        yield "limit", f"{where}: {spent} micro-dollars, the session's limit is {body['spendLimitUsd']}"
    approved = {
        (one.plan_hash, one.kind): one for one in case.approvals if one.session == session and one.time <= moment
    }
    sums = [
        _micros(spec["maxCost"]) for (_, kind), one in approved.items() for spec in one.document["grants"]
        if (spec["gate"] == "promotion") == (kind == "promotion")
    ]  # fmt: skip
    ceiling = _micros(body["autoApprove"]["maxUsd"]) if "autoApprove" in body else 0
    if spent > sum(sums) + ceiling + len(used):
        yield "ceiling", f"{where}: {spent} micro-dollars; people approved {sum(sums)}, the ceiling is {ceiling}"


def _committed(case: Case, resource: str, worst: int, moment: float) -> int:
    """What a call may cost, as far as it was decided by letting it in: the actual cost once it has ended for less."""
    found = case.resources.get(resource)
    return min(worst, _billed(case, resource, moment)) if found and found.ended(moment) else worst


def _billed(case: Case, resource: str, moment: float) -> int:
    found = case.resources.get(resource)
    return 0 if found is None else math.ceil(found.cost(moment) * _MICRO)


def _reaction(case: Case, resource: str, moment: float) -> int:
    """Micro-dollars that a resource may cost beyond its limit before the gateway has ended it."""
    found = case.resources.get(resource)
    if found is None:
        return 0
    last = min(moment, found.end or moment)
    away = sum(max(0.0, min(end, last) - max(start, found.start)) for start, end in case.outages)
    return math.ceil((REACTION_SECONDS + away) * found.replicas * float(HOUR_USD) * _MICRO / 3600)


def _worst(spec: Json, entry: Entry, seen: Seen) -> int:
    if entry.kind == "infer":
        return 0  # the local price book prices machine time, not tokens
    if entry.method == "CreateDeployment":
        hours = float(spec["maxHours"])
        return math.ceil(round(hours * int(seen.body.get("maxReplicaCount", 1)) * float(HOUR_USD) * _MICRO, 6))
    return _micros(spec["maxCost"]) // int(spec["maxCalls"])


def _uncovered(spec: Json, entry: Entry, seen: Seen) -> str:
    """Why an approved grant does not cover a request; empty when it does."""
    if spec["method"] != entry.method:
        return f"what was approved is {spec['method']}"
    rules: Json = spec["rules"]
    body = seen.body if isinstance(seen.body, dict) else {}
    fields: dict[str, Any] = {f"query.{name}": value for name, value in seen.query}
    for name, value in _leaves("body", body, rules):
        fields[name] = value
    for name in {*fields, *rules}:
        if name not in rules:
            return f"{name} was not approved"
        if not _obeys(fields.get(name), rules[name]):
            return f"{name} is {str(fields.get(name))[:60]}"
    return ""


def _leaves(prefix: str, value: Json, rules: Json) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        name = f"{prefix}.{key}"
        if isinstance(inner, dict) and name not in rules and any(rule.startswith(f"{name}.") for rule in rules):
            yield from _leaves(name, inner, rules)
        else:
            yield name, inner


def _obeys(value: Any, rule: Json) -> bool:
    if rule.get("isEquals"):
        return _key(value) == _key(rule["equals"])
    if rule.get("oneOf") is not None:
        return _key(value) in [_key(option) for option in rule["oneOf"]]
    if rule.get("maxBytes") is not None:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return len(text.encode()) <= rule["maxBytes"]
    if type(value) not in (int, float):
        return False
    return (rule.get("minimum") or value) <= value <= (rule.get("maximum") or value)


def _key(value: Any) -> Any:
    """Numbers compare as numbers, but never with booleans."""
    return (type(value) is bool, json.dumps(value, sort_keys=True)) if type(value) not in (int, float) else float(value)


def _micros(amount: str) -> int:
    return math.ceil(round(float(amount) * _MICRO, 3))
