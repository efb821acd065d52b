"""The offline check of a campaign: every promise of docs/durability.md, recomputed from what is left of it.

Nothing here asks the code under test: legal moves, gates and names are written down once more.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from tests.crashes.case import Case, Json, moment_of
from tests.crashes.gates import check_gates
from tests.crashes.outside import check_outside
from tests.crashes.person import digest_of

CONVERGE_SECONDS = 60.0
LEAVE_SECONDS = 2.0
"""How long a runner whose session waits may take to be gone."""
MOVES = {
    "create": ({""}, "pending"),
    "start": ({"pending"}, "running"),
    "recover": ({"running"}, "pending"),
    "continue": ({"running"}, "pending"),
    "ask": ({"running"}, "waiting"),
    "succeed": ({"running"}, "succeeded"),
    "fail": ({"pending", "running"}, "failed"),
    "cancel": ({"pending", "running", "waiting"}, "cancelled"),
    "answer": ({"waiting"}, "pending"),
    "reopen": ({"succeeded"}, "pending"),
    "retry": ({"failed"}, "pending"),
}
_OF_RUNNERS = ("phase", "status_info", "job", "cost", "artifact", "report")


class Violation(NamedTuple):
    """A promise that did not hold."""

    rule: str
    what: str


def check(case: Case, *, timed: bool = True) -> list[Violation]:
    """All violations; an empty list means that every promise held. `timed`: whether the clocks were left alone."""
    found = [Violation("audit", case.chain)] if case.chain else []
    found += [Violation("client", problem) for problem in case.log.problems]
    found += [Violation("unreached", point) for point in case.left]
    for rule, checked in _RULES.items():
        if rule in _TIMED and not timed:
            continue
        found += [Violation(rule, what) for what in checked(case)]
    return found


def check_acknowledged(case: Case) -> Iterator[str]:
    """What was answered with 200 is there, under the ID that was given out, and there once."""
    known = {row["id"] for row in case.tables["sessions"]}
    kept = {(row["scope"].rpartition("/")[2], row["request_id"]) for row in case.tables["requests"]}
    for session, entry in case.log.created.items():
        if session not in known or ("sessions", entry["body"]["requestId"]) not in kept:
            yield f"the creation of {session} was acknowledged and is lost"
    if len(known) > len({row["request_id"] for row in case.tables["requests"] if row["scope"].endswith("/sessions")}):
        yield f"{len(known)} sessions of fewer requests"
    replies: dict[tuple[str, str], set[str]] = {}
    for update in case.log.updates:
        replies.setdefault((update["session"], update["requestId"]), set()).add(f"{update['code']} {update['reply']}")
        if update["code"] == 200 and (update["session"], update["requestId"]) not in kept:
            yield f"{update['session']}: the update {update['requestId']} was acknowledged and is lost"
    yield from (
        f"{session}: {request} got several replies" for (session, request), set_ in replies.items() if len(set_) > 1
    )


def check_events(case: Case) -> Iterator[str]:
    """Sequences without a gap; each watcher saw each event once and in order, as it is stored."""
    for row in case.tables["sessions"]:
        stored = case.events(row["id"])
        if [event["seq"] for event in stored] != list(range(1, row["last_seq"] + 1)):
            yield f"{row['id']}: the log is not 1 to {row['last_seq']}: {[event['seq'] for event in stored]}"
        digests = {event["seq"]: digest_of(event["type"], event["payload"]) for event in stored}
        ends = [event["seq"] for event in stored if event["type"] == "status"]
        for watcher, seen in case.log.seen.items():
            if not watcher.startswith(row["id"]):
                continue
            if [seq for seq, _ in seen] != list(range(1, len(seen) + 1)):
                yield f"{watcher} did not see 1 to {len(seen)} once and in order: {[seq for seq, _ in seen]}"
            if ends and len(seen) < ends[-1]:
                yield f"{watcher} saw {len(seen)} events, and the session ended with {ends[-1]}"
            changed = [seq for seq, digest in seen if digests.get(seq) != digest]
            if changed:
                yield f"{watcher} saw other events than are stored: {changed}"


def check_epochs(case: Case) -> Iterator[str]:
    """No write or call of a stale epoch: epochs never decrease, and a runner writes only while its session runs."""
    for row in case.tables["sessions"]:
        epoch, status = 0, ""
        for event in case.events(row["id"]):
            if event["epoch"] < epoch:
                yield f"{row['id']}: event {event['seq']} of epoch {event['epoch']} after epoch {epoch}"
            epoch = max(epoch, event["epoch"])
            if event["type"] in _OF_RUNNERS and status != "running" and not _closes_phases(event):
                yield f"{row['id']}: event {event['seq']} ({event['type']}) of a runner while {status}"
            if event["type"] == "status":
                status = event["payload"]["status"]
        if epoch > row["epoch"]:
            yield f"{row['id']}: events of epoch {epoch}, and the session is at {row['epoch']}"
    yield from _check_calls(case)


def _check_calls(case: Case) -> Iterator[str]:
    latest: Counter[str] = Counter()
    for row in sorted(case.tables["gateway_audit"], key=lambda row: row["seq"]):
        epoch = json.loads(row["detail"]).get("epoch")
        if epoch is None or row["verdict"] != "allowed":
            continue
        if epoch < latest[row["principal"]]:
            last = latest[row["principal"]]
            yield f"{row['principal']}: {row['method']} of epoch {epoch} was let in after a call of epoch {last}"
        latest[row["principal"]] = max(epoch, latest[row["principal"]])


def _closes_phases(event: Json) -> bool:
    """A rejection ends the phases for which no runner comes back."""
    return event["type"] == "phase" and event["payload"]["state"] != "started"


def check_statuses(case: Case) -> Iterator[str]:
    """Legal moves only, and one end: the one that was to come."""
    for row in case.tables["sessions"]:
        status, ends = "", list[str]()
        for event in case.events(row["id"]):
            if event["type"] != "status":
                continue
            move = event["payload"]["move"]
            sources, target = MOVES.get(move, (set[str](), ""))
            if status not in sources or event["payload"]["status"] != target:
                yield f"{row['id']}: {move} from {status or 'nothing'} to {event['payload']['status']}"
            status = event["payload"]["status"]
            ends += [status] if status in ("succeeded", "cancelled") else []
        wanted = case.log.created.get(row["id"], {}).get("end")
        if status != row["status"] or ends != [status] or (wanted and status != wanted):
            yield f"{row['id']}: is {row['status']}, its events end with {status}, its ends are {ends}, wanted {wanted}"


def check_convergence(case: Case) -> Iterator[str]:
    """At rest within a minute of the last kill, or of its own creation; longer where others use the processors too."""
    for row in case.tables["sessions"]:
        ended = [moment_of(event["time"]) for event in case.events(row["id"]) if event["type"] == "status"]
        begun = max(case.last_kill, moment_of(row["create_time"]))
        if ended and ended[-1] - begun > CONVERGE_SECONDS * case.crowding:
            yield f"{row['id']} ended {ended[-1] - begun:.0f} s after the last kill"


def check_idle(case: Case) -> Iterator[str]:
    """No runner process while its session waits."""
    lives = list(_lives(case.births))
    for row in case.tables["sessions"]:
        statuses = [event for event in case.events(row["id"]) if event["type"] == "status"]
        for event, after in pairwise(statuses):
            if event["payload"]["status"] != "waiting":
                continue
            first, last = moment_of(event["time"]) + LEAVE_SECONDS, moment_of(after["time"])
            if last > first and any(label == row["id"] and start < last and end > first for label, start, end in lives):
                yield f"{row['id']}: a runner while it waited from {event['time']} to {after['time']}"


def _lives(births: list[Json]) -> Iterator[tuple[str, float, float]]:
    """(session, born, ended) of each runner."""
    born: dict[int, Json] = {}
    for entry in births:
        if entry["role"] != "runner":
            continue
        if entry["what"] == "start":
            born[entry["pid"]] = entry
        elif begun := born.pop(entry["pid"], None):
            yield entry["label"], begun["time"], entry["time"]
    yield from ((entry["label"], entry["time"], float("inf")) for entry in born.values())


def check_money(case: Case) -> Iterator[str]:
    """Spent within what was approved, and nothing held at the end."""
    sums: Counter[str] = Counter()
    for row in case.tables["gateway_reservations"]:
        if row["state"] == "active":
            yield f"{row['resource']}: {row['amount_micros']} micro-dollars are still reserved"
        sums[row["grant_id"]] += row["accrued_micros"] if row["state"] == "settled" else 0
    for grant in case.tables["gateway_grants"]:
        name = f"{grant['session']} {grant['spec']}"
        if grant["settled_micros"] + grant["reserved_micros"] > grant["max_cost_micros"]:
            yield f"{name}: {grant['settled_micros']} settled of {grant['max_cost_micros']} approved"
        if grant["reserved_micros"] or grant["settled_micros"] != sums[grant["id"]]:
            held, settled = grant["reserved_micros"], grant["settled_micros"]
            yield f"{name}: {held} reserved, {settled} of {sums[grant['id']]} settled"
        if grant["calls"] > grant["max_calls"]:
            yield f"{name}: {grant['calls']} calls of {grant['max_calls']}"


_TIMED = ("convergence", "idle")
_RULES: dict[str, Callable[[Case], Iterator[Any]]] = {
    "acknowledged": check_acknowledged,
    "events": check_events,
    "epochs": check_epochs,
    "statuses": check_statuses,
    "convergence": check_convergence,
    "idle": check_idle,
    "money": check_money,
    "gates": check_gates,
    "outside": check_outside,
}
