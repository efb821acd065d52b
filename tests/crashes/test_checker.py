"""The checker finds each broken promise: one good campaign, and one forged line at a time."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.crashes.case import Case
from tests.crashes.checker import check
from tests.crashes.person import Log, digest_of

S, HASH, OTHER = "1779157376-41e1", "a" * 64, "b" * 64
JOB = f"accounts/local/supervisedFineTuningJobs/ft-{S}-final"
Json = dict[str, Any]


def status(state: str, move: str) -> tuple[str, Json]:
    return "status", {"status": state, "move": move, "reason": ""}


def phase(name: str, state: str = "started") -> tuple[str, Json]:
    return "phase", {"phase": name, "state": state}


QUESTION = ("question", {"questionId": "q1", "kind": "plan_approval", "planHash": HASH})
ANSWER = ("answer", {"questionId": "q1", "decision": "approve", "planHash": HASH})
EVENTS: list[tuple[int, int, tuple[str, Json]]] = [
    # (second, epoch, event)
    (0, 0, status("pending", "create")),
    (1, 1, status("running", "start")),
    (2, 1, phase("plan")),
    (3, 1, QUESTION),
    (3, 1, status("waiting", "ask")),
    (13, 1, ANSWER),
    (13, 1, status("pending", "answer")),
    (14, 2, status("running", "start")),
    (15, 2, phase("train")),
    (16, 2, status("succeeded", "succeed")),
]


def at(second: int) -> str:
    return f"2026-11-21T00:00:{second:02d}.000000Z"


START = 1795219200.0
"""`at(0)` in seconds since the epoch."""


def call(seq: int, epoch: int, verdict: str = "allowed") -> Json:
    detail = json.dumps({"digest": "d", "epoch": epoch})
    return {"seq": seq, "principal": f"session:{S}", "method": "GetModel", "verdict": verdict, "detail": detail}


def make_case() -> Case:
    """One session that asked, was approved, trained, and ended."""
    stored = [
        {"session_id": S, "seq": n, "type": kind, "time": at(second), "epoch": epoch, "payload": json.dumps(payload)}
        for n, (second, epoch, (kind, payload)) in enumerate(EVENTS, 1)
    ]
    created = {"body": {"requestId": "c1"}, "shape": "single", "end": "succeeded", "time": START}
    given = {"session": S, "questionId": "q1", "requestId": "u1", "code": 200, "reply": "{}", "body": {}}
    seen = [(n, digest_of(*event)) for n, (_, _, event) in enumerate(EVENTS, 1)]
    log = Log({S: created}, [given], {f"{S}/driver": seen, f"{S}/restless": list(seen)})
    answer = {"questionId": "q1", "decision": "approve", "planHash": HASH}
    reservation = {"session": S, "grant_id": "g1", "resource": JOB, "state": "settled", "amount_micros": 100}
    grant = {"id": "g1", "session": S, "plan_hash": HASH, "gate": "plan_approval", "spec": "final", "calls": 1}
    grant |= {"method": "CreateSupervisedFineTuningJob", "max_calls": 1, "max_cost_micros": 100}
    scope = f"accounts/local/sessions/{S}"
    tables: dict[str, list[Json]] = {
        "sessions": [{"id": S, "last_seq": len(EVENTS), "status": "succeeded", "epoch": 2, "create_time": at(0)}],
        "events": stored,
        "questions": [{"session_id": S, "question_id": "q1", "kind": "plan_approval", "plan_hash": HASH}],
        "answers": [{"session_id": S, "question_id": "q1", "document": json.dumps(answer)}],
        "turns": [],
        "requests": [
            {"scope": "accounts/local/sessions", "request_id": "c1"},
            {"scope": scope, "request_id": "u1"},
        ],
        "gateway_effects": [{"scope": f"session:{S}", "key": "k", "state": "done", "reservation": 1}],
        "gateway_grants": [grant | {"reserved_micros": 0, "settled_micros": 40}],
        "gateway_limits": [],
        "gateway_reservations": [reservation | {"accrued_micros": 40}],
        "gateway_owners": [{"name": JOB, "session": S}],
        "gateway_audit": [call(1, 1), call(2, 1), call(3, 2), call(4, 1, "denied")],
    }
    effects: list[Json] = [
        {"what": "create", "kind": "job", "name": JOB, "state": "JOB_STATE_CREATING", "body": {}},
        {
            "what": "create",
            "kind": "model",
            "name": f"m/ft-{S}-final",
            "state": "READY",
            "body": {"fineTuningJob": JOB},
        },
        {"what": "state", "kind": "job", "name": JOB, "state": "JOB_STATE_COMPLETED", "body": {}},
    ]
    tables["gateway_owners"].append({"name": f"m/ft-{S}-final", "session": S})
    births: list[Json] = []
    for pid, first, last in ((1, 1.0, 3.0), (2, 14.0, 16.0)):
        for what, second in (("start", first), ("end", last)):
            births.append({"role": "runner", "what": what, "pid": pid, "label": S, "time": START + second})
    trainers = [{"job": f"ft-{S}-final", "what": "start", "alone": True}]
    return Case(START + 5, tables, effects, trainers, births, log)


def forge_event(case: Case, seq: int, **values: Any) -> None:
    """Change one stored event, and what its watchers saw of it, so that only the other rules can tell."""
    row = case.tables["events"][seq - 1]
    row |= {name: value for name, value in values.items() if name != "payload"}
    if "payload" in values:
        row["payload"] = json.dumps(values["payload"])
    seen = (seq, digest_of(row["type"], json.loads(row["payload"])))
    for watched in case.log.seen.values():
        watched[seq - 1] = seen


def forge_answer(case: Case, **values: Any) -> None:
    row = case.tables["answers"][0]
    row["document"] = json.dumps(json.loads(row["document"]) | values)


def copy_effect(case: Case, number: int, **values: Any) -> None:
    case.effects.insert(number, copy.deepcopy(case.effects[number]) | values)


def deployed(name: str) -> Json:
    body = {"model": "m", "deployment": "d"}
    return {"what": "create", "kind": "deployed", "name": name, "state": "DEPLOYING", "body": body}


FORGERIES: dict[str, tuple[str, Callable[[Case], object]]] = {
    "a created session is gone": ("acknowledged", lambda c: c.tables["requests"].pop(0)),
    "a session of no request": (
        "acknowledged",
        lambda c: c.tables["sessions"].append(c.tables["sessions"][0] | {"id": "2-x", "last_seq": 0, "status": ""}),
    ),
    "an acknowledged update is gone": ("acknowledged", lambda c: c.tables["requests"].pop(1)),
    "a request with two replies": (
        "acknowledged",
        lambda c: c.log.updates.append(c.log.updates[0] | {"reply": "{'other': 1}"}),
    ),
    "an event is missing": ("events", lambda c: c.tables["events"].pop(4)),
    "a sequence is used twice": ("events", lambda c: c.tables["events"][4].update(seq=4)),
    "a watcher misses an event": ("events", lambda c: c.log.seen[f"{S}/driver"].pop(3)),
    "a watcher sees an event twice": (
        "events",
        lambda c: c.log.seen[f"{S}/driver"].insert(3, c.log.seen[f"{S}/driver"][3]),
    ),
    "a watcher sees another event": ("events", lambda c: c.log.seen[f"{S}/restless"].__setitem__(2, (3, "x"))),
    "a watcher never sees the end": ("events", lambda c: c.log.seen[f"{S}/restless"].pop()),
    "an older epoch writes": ("epochs", lambda c: forge_event(c, 9, epoch=1)),
    "an older epoch calls": ("epochs", lambda c: c.tables["gateway_audit"].append(call(5, 1))),
    "an epoch above the session's": ("epochs", lambda c: c.tables["sessions"][0].update(epoch=1)),
    "a runner writes while the session waits": (
        "epochs",
        lambda c: forge_event(c, 6, type="status_info", payload={"text": "x"}),
    ),
    "an illegal move": ("statuses", lambda c: forge_event(c, 7, payload=status("pending", "reopen")[1])),
    "two ends": ("statuses", lambda c: forge_event(c, 9, type="status", payload=status("cancelled", "cancel")[1])),
    "another end than its row says": ("statuses", lambda c: c.tables["sessions"][0].update(status="running")),
    "another end than was to come": ("statuses", lambda c: c.log.created[S].update(end="cancelled")),
    "an end a minute too late": ("convergence", lambda c: [setattr(c, "last_kill", START - 50),
                                                           c.tables["sessions"][0].update(create_time=at(0)),
                                                           forge_event(c, 10, time="2026-11-21T00:01:01.000000Z")]),
    "a runner while it waits": ("idle", lambda c: c.births[1].update(time=START + 9)),
    "a runner that is never gone": ("idle", lambda c: c.births.pop(1)),
    "a reservation at the end": ("money", lambda c: c.tables["gateway_reservations"][0].update(state="active")),
    "more settled than approved": (
        "money",
        lambda c: [
            c.tables["gateway_grants"][0].update(settled_micros=140),
            c.tables["gateway_reservations"][0].update(accrued_micros=140),
        ],
    ),
    "settled without a reservation": ("money", lambda c: c.tables["gateway_reservations"].pop()),
    "more calls than approved": ("money", lambda c: c.tables["gateway_grants"][0].update(calls=2)),
    "an answer that nobody gave": ("gates", lambda c: c.log.updates.clear()),
    "an acknowledged answer is gone": ("gates", lambda c: c.tables["answers"].clear()),
    "two answers to one question": ("gates", lambda c: c.log.updates.append(c.log.updates[0] | {"requestId": "u2"})),
    "a stale answer is taken": ("gates", lambda c: c.log.updates[0].update(requestId="u1-stale")),
    "an approval of another plan": ("gates", lambda c: forge_answer(c, planHash=OTHER)),
    "a grant of another plan": ("gates", lambda c: c.tables["gateway_grants"][0].update(plan_hash=OTHER)),
    "a grant without an approval": ("gates", lambda c: forge_answer(c, decision="revise")),
    "an answer to no question": ("gates", lambda c: c.tables["questions"].clear()),
    "training before the approval": ("gates", lambda c: forge_event(c, 3, payload=phase("train")[1])),
    "a promotion that was skipped": ("gates", lambda c: forge_event(c, 8, type="phase", payload=phase("sweep")[1])),
    "a job twice": ("outside", lambda c: copy_effect(c, 0)),
    "an adapter loaded twice": ("outside", lambda c: c.effects.extend([deployed("x"), deployed("y")])),
    "a job that belongs to nobody": ("outside", lambda c: c.tables["gateway_owners"].pop(0)),
    "a job without a grant": ("outside", lambda c: c.tables["gateway_grants"][0].update(spec="c1")),
    "a job that ended twice": ("outside", lambda c: copy_effect(c, 2)),
    "a job without a model": ("outside", lambda c: c.effects.pop(1)),
    "an outcome that is not known": ("outside", lambda c: c.tables["gateway_effects"][0].update(state="pending")),
    "two trainers at a time": ("outside", lambda c: c.trainers[0].update(alone=False)),
    "a problem of the client": ("client", lambda c: c.log.problems.append("HTTP 500")),
    "a point that was never reached": ("unreached", lambda c: c.left.append("control.create.written:1")),
    "a broken audit": ("audit", lambda c: setattr(c, "chain", "row 3 does not follow")),
}  # fmt: skip


def test_a_good_campaign_has_no_violations() -> None:
    assert check(make_case()) == []


@pytest.mark.parametrize("name", FORGERIES)
def test_each_broken_promise_is_found(name: str) -> None:
    rule, forge = FORGERIES[name]
    case = make_case()
    forge(case)
    assert rule in {violation.rule for violation in check(case)}
