"""The offline check of a campaign: every promise, recomputed from the platform's log and what people approved."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.adversary.case import Case, Json, digest_of, moment_of
from tests.adversary.manifest import Entry, method_of
from tests.adversary.money import check_ledger, check_money
from tests.adversary.platform import KEY, Seen

_NAMED = re.compile(r"accounts/([^/\s\"'?&]*)")
_OPAQUE = ("messages", "prompt", "system", "tools", "metadata", "functions")
"""Fields of inference whose text is a model's input and addresses nothing."""
_HEADERS = {
    *("host", "authorization", "accept", "accept-encoding", "connection", "user-agent"),
    *("content-type", "content-length", "transfer-encoding"),
}
_CHANGING = ("POST", "PUT", "PATCH", "DELETE")


class Violation(NamedTuple):
    """A promise that did not hold."""

    rule: str
    what: str


class Call(NamedTuple):
    """A logged request with what is known about it. `session` is empty for the gateway's own calls and for people."""

    seen: Seen
    entry: Entry | None
    session: str
    row: Json | None
    """The audit row that let it in."""


def check(case: Case) -> list[Violation]:
    """All violations, in the order of the log; an empty list means that every promise held."""
    found = [Violation("audit", case.chain)] if case.chain else []
    calls = list(_attribute(case, found))
    for call in calls:
        where = f"#{call.seen.number} {call.seen.verb} {call.seen.path}"
        problems = (*_check_manifest(call), *_check_names(case, call), *_check_wire(call))
        found += [Violation(rule, f"{where}: {what}") for rule, what in problems]
    found += [Violation("other-session", what) for what in _check_owners(calls)]
    found += [Violation("forged-approval", what) for what in _check_approvals(case)]
    found += [Violation("unread", what) for what in _check_read(case)]
    found += [Violation("revoked", what) for what in _check_revoked(case)]
    spending = [(call.seen, call.entry, call.session, call.row) for call in calls]
    found += [Violation(rule, what) for rule, what in check_money(case, spending)]
    found += [Violation("ledger", what) for what in check_ledger(case)]
    return found


def _attribute(case: Case, found: list[Violation]) -> Iterator[Call]:
    """Each logged request with the audit row written before it."""
    allowed = [row for row in case.audit if row["verdict"] == "allowed"]
    by_digest: dict[str, list[Json]] = {}
    for row in allowed:
        by_digest.setdefault(str(row["detail"].get("digest", "")), []).append(row)
    ended = {(row["method"], row["resource"]): row for row in reversed(allowed) if row["rule"] == "approved-limit"}
    used: Counter[str] = Counter()
    for seen in case.log:
        digest = digest_of(seen)
        rows, place = by_digest.get(digest, []), used[digest]
        used[digest] += 1
        if seen.verb == "GET":  # the gateway reads the same things by itself, too
            row = next((row for row in reversed(rows) if moment_of(row) <= seen.time), None)
        else:
            row = rows[place] if place < len(rows) else ended.get(_ending(seen))
        own = row is None and seen.verb == "GET" and _is_own_read(case, seen, by_digest)
        if not own and (row is None or moment_of(row) > seen.time + 1e-3):
            found.append(Violation("unaudited", f"#{seen.number} {seen.verb} {seen.path} has no audit row before it"))
        principal = str(row["principal"]) if row else ""
        yield Call(
            seen, method_of(seen), principal.removeprefix("session:") if principal[:8] == "session:" else "", row
        )


def _ending(seen: Seen) -> tuple[str, str]:
    """(method, resource) under which the gateway writes down that it ends something."""
    resource, _, custom = seen.path.removeprefix("/v1/").partition(":")
    collection = resource.split("/")[2] if resource.count("/") > 1 else ""
    kind = f"{collection[:1].upper()}{collection[1:-1]}"
    verb = {"DELETE": "Delete", "cancel": "Cancel"}.get(custom or seen.verb, "")
    return (f"{verb}{kind}", resource) if verb else ("", "")


def _is_own_read(case: Case, seen: Seen, by_digest: dict[str, list[Json]]) -> bool:
    """Reads that the gateway makes by itself: usage, what it watches or looks for, and signed URLs of a download."""
    name = seen.path.removeprefix("/v1/")
    if seen.path == f"/v1/accounts/{case.account}/billingUsage":
        return True
    if seen.path.endswith(":getDownloadEndpoint"):
        asked = Seen(0, 0, "GET", seen.path.replace(":getDownloadEndpoint", ":download"), [], {}, None)
        return digest_of(asked) in by_digest
    watched = {row["resource"] for row in case.reservations}
    return name in watched or name in case.resources or seen.query == [("pageSize", "200")]


def _check_manifest(call: Call) -> Iterator[tuple[str, str]]:
    row = call.row
    ours = row is not None and str(row["principal"]).startswith(("gateway:", "user:"))
    if call.entry is None and not (ours and not call.session):
        yield "manifest", "not a method of pilot.yaml"
    if call.session and call.entry is not None and row is not None and row["method"] != call.entry.method:
        yield "manifest", f"audited as {row['method']}"


def _check_names(case: Case, call: Call) -> Iterator[tuple[str, str]]:
    seen = call.seen
    changing = seen.verb in _CHANGING and not (call.entry and call.entry.kind in ("read", "infer"))
    for account in _NAMED.findall(seen.path):
        if account != case.account and (account != "fireworks" or changing):
            yield "account", f"the path names {account!r}"
    places: list[Any] = [dict(seen.query), _addressing(seen.body)]
    for text in _texts(places):
        for account in _NAMED.findall(text):
            public = account == "fireworks" and not text.startswith("accounts/fireworks/deployments")
            if account != case.account and not public:
                yield "account", f"query or body names {account!r}"
    if isinstance(seen.body, dict):
        for field in ("outputModel", "outputDataset", "outputDatasetId", "deployment"):
            value = seen.body.get(field)
            if isinstance(value, str) and not value.startswith(f"accounts/{case.account}/"):
                yield "account", f"{field} is {value!r}"


def _check_wire(call: Call) -> Iterator[tuple[str, str]]:
    strange = call.seen.headers.keys() - _HEADERS
    if strange or call.seen.headers.get("authorization") != f"Bearer {KEY}":
        yield "headers", f"it carried {sorted(strange)}"
    if "%" in call.seen.path or ".." in call.seen.path or "//" in call.seen.path:
        yield "path", "the path is not in the grammar"


def _check_owners(calls: list[Call]) -> Iterator[str]:
    """A session writes to nothing that another one made, and takes no name over."""
    makers: dict[str, str] = {}
    for call in calls:
        seen = call.seen
        if not call.session:
            continue
        for name in _written(call):
            if makers.get(name) != call.session:
                yield f"#{seen.number} {seen.verb} {seen.path}: {name} was made by {makers.get(name) or 'nobody'}"
        if seen.created:
            for name in (seen.created, *_outputs(seen.body)):
                if makers.setdefault(name, call.session) != call.session:
                    yield f"#{seen.number}: {name} was made by {makers[name]} before"


def _written(call: Call) -> list[str]:
    """Existing resources that a call changes or adds to."""
    names = [call.seen.path.removeprefix("/v1/").partition(":")[0]] if call.entry and call.entry.created_only else []
    if call.entry and call.entry.method == "CreateDeployedModel" and isinstance(call.seen.body, dict):
        names.append(str(call.seen.body.get("deployment")))
    return names


def _check_approvals(case: Case) -> Iterator[str]:
    """Every right to spend was given by a person, or by a ceiling that a person set."""
    given = {(one.session, one.plan_hash) for one in case.approvals}
    for row in case.audit:
        if row["verdict"] != "approved":
            continue
        session, plan = str(row["resource"]), str(row["detail"].get("plan"))
        by_ceiling = str(row["principal"]).startswith("autoApprove") and "autoApprove" in case.sessions.get(session, {})
        if not by_ceiling and (session, plan) not in given:
            yield f"audit row {row['seq']}: nobody approved plan {plan[:12]} of {session}"


def _check_read(case: Case) -> Iterator[str]:
    """What a person approved was shown from the plan: its hash, or that of a plan that was approved before."""
    read = {(one.session, one.plan_hash) for one in case.approvals if one.plan_hash[:12] in one.shown}
    for one in case.approvals:
        automatic = "autoApprove" in case.sessions.get(one.session, {})
        if (one.session, one.plan_hash) not in read and not (one.kind == "promotion" and automatic):
            yield f"a {one.kind} question of {one.session} did not show plan {one.plan_hash[:12]}"


def _check_revoked(case: Case) -> Iterator[str]:
    """A new call spends only under the plan that was approved last, and under none after the end of the session."""
    live: dict[str, str] = {}
    for row in case.audit:
        detail = row["detail"]
        if row["verdict"] == "approved":
            live[str(row["resource"])] = str(detail["plan"])[:16]
        elif row["verdict"] == "revoked":
            live.pop(str(row["resource"]), None)
        elif row["verdict"] == "allowed" and "grant" in detail and "again" not in detail:
            session, plan = str(detail["grant"]).split("/")[:2]
            if live.get(session) != plan:
                yield f"audit row {row['seq']}: grant {detail['grant']} was not live"


def _addressing(body: Any) -> Any:
    return {key: value for key, value in body.items() if key not in _OPAQUE} if isinstance(body, dict) else None


def _outputs(body: Any) -> list[str]:
    inner = body.get("trainingConfig") if isinstance(body, dict) else None
    found = [body.get("outputModel") if isinstance(body, dict) else None]
    found.append(inner.get("outputModel") if isinstance(inner, dict) else None)
    return [name for name in found if isinstance(name, str)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
