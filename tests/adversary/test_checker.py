"""The checker sees what it is there for: a clean case passes, and each kind of violation, written into it, is found."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.adversary.case import Case, Json, digest_of
from tests.adversary.checker import check
from tests.adversary.person import Approval
from tests.adversary.platform import KEY, Resource, Seen

ME, OTHER, PLAN = "1-aaaa", "2-bbbb", "ab" * 32
JOBS, DEPLOYMENTS = "/v1/accounts/acct/supervisedFineTuningJobs", "/v1/accounts/acct/deployments"
JOB = {"dataset": "accounts/acct/datasets/d", "outputModel": "accounts/acct/models/m1", "epochs": 1}
WINDOW = {"scaleToZeroWindow": "300s"}
DEPLOYMENT = {"minReplicaCount": 0, "maxReplicaCount": 1, "autoscalingPolicy": WINDOW}
QUESTION = {"model": "accounts/fireworks/models/e", "messages": [{"role": "user", "content": "accounts/other/x"}]}


def exactly(value: Any) -> Json:
    return {"equals": value, "isEquals": True}


def spec(name: str, method: str, rules: Json, cost: str, **more: Any) -> Json:
    return {
        "id": name,
        "gate": "plan_approval",
        "method": method,
        "rules": rules,
        "maxCalls": 2,
        "maxCost": cost,
    } | more


DOCUMENT: Json = {
    "grants": [
        spec(
            "job", "CreateSupervisedFineTuningJob",
            {"query.supervisedFineTuningJobId": {"oneOf": ["j1", "j2", "j3"]}, "body.dataset": exactly(JOB["dataset"]),
             "body.outputModel": {"maxBytes": 100}, "body.epochs": {"minimum": 1, "maximum": 2}},
            "0.02",
        ),
        spec(
            "deploy", "CreateDeployment",
            {"query.deploymentId": exactly("d1"), "body.minReplicaCount": exactly(0),
             "body.maxReplicaCount": {"minimum": 1}, "body.autoscalingPolicy.scaleToZeroWindow": exactly("300s")},
            "0.01", maxHours=0.05,
        ),
        spec(
            "ask", "CreateChatCompletion",
            {"body.model": exactly(QUESTION["model"]), "body.messages": {"maxBytes": 200}}, "0",
        ),
    ]
}  # fmt: skip


class Record:
    """Writes a case as the product and the platform would."""

    def __init__(self) -> None:
        self.case = Case(end=200.0, sessions={ME: {}, OTHER: {}})

    def approve(self, session: str = ME, moment: float = 100.0, **more: Any) -> None:
        given = Approval(session, PLAN, "plan_approval", moment, copy.deepcopy(DOCUMENT), f"Plan hash `{PLAN[:12]}`")
        self.case.approvals.append(given)
        self.row(moment + 0.1, "user:ann", "", session, "approved", "grants", {"plan": PLAN, "gate": "plan_approval"})
        for one in DOCUMENT["grants"]:
            micros = round(float(one["maxCost"]) * 1e6)
            row = {"id": f"{session}/{PLAN[:16]}/{one['id']}", "session": session, "max_calls": 2, "calls": 0}
            money = {"max_cost_micros": micros, "reserved_micros": 0, "settled_micros": 0}
            self.case.grants.append(row | money | more)

    def row(self, moment: float, who: str, method: str, resource: str, verdict: str, rule: str, detail: Json) -> None:
        time = datetime.fromtimestamp(moment, UTC).isoformat()
        row = {"seq": len(self.case.audit) + 1, "time": time, "principal": who, "method": method, "resource": resource}
        self.case.audit.append(row | {"verdict": verdict, "rule": rule, "detail": detail})

    def call(
        self, moment: float, verb: str, path: str, body: Any = None, grant: str = "", *, session: str = ME,
        created: str = "", query: str = "", method: str = "", audited: bool = True,
    ) -> Seen:  # fmt: skip
        pairs = [tuple(part.split("=")) for part in query.split("&") if part]
        headers = {"host": "p", "authorization": f"Bearer {KEY}"}
        seen = Seen(len(self.case.log), moment, verb, path, [(a, b) for a, b in pairs], headers, body, 200, created)
        self.case.log.append(seen)
        detail: Json = {"digest": digest_of(seen)} | ({"grant": f"{session}/{PLAN[:16]}/{grant}"} if grant else {})
        if audited:
            self.row(moment - 0.01, f"session:{session}", method, "", "allowed", "allowed", detail)
        return seen

    def job(self, moment: float, name: str = "j1", output: str = "m1", **changes: Any) -> Seen:
        body = JOB | {"outputModel": f"accounts/acct/models/{output}"} | changes
        created = f"{JOBS.removeprefix('/v1/')}/{name}"
        self.case.resources[created] = Resource({}, moment, moment + 10, 1)
        query, method = f"supervisedFineTuningJobId={name}", "CreateSupervisedFineTuningJob"
        return self.call(moment, "POST", JOBS, body, "job", created=created, query=query, method=method)

    def deploy(self, moment: float, **changes: Any) -> Seen:
        created = f"{DEPLOYMENTS.removeprefix('/v1/')}/d1"
        body: Json = DEPLOYMENT | changes
        self.case.resources[created] = Resource({}, moment, None, int(body["maxReplicaCount"]))
        query, method = "deploymentId=d1", "CreateDeployment"
        return self.call(moment, "POST", DEPLOYMENTS, body, "deploy", created=created, query=query, method=method)

    def dataset(self, moment: float, name: str, session: str = ME) -> None:
        created = f"accounts/acct/datasets/{name}"
        self.call(moment, "POST", "/v1/accounts/acct/datasets", {"datasetId": name}, created=created, session=session,
                  method="CreateDataset")  # fmt: skip

    def upload(self, moment: float, name: str) -> None:
        self.call(moment, "POST", f"/v1/accounts/acct/datasets/{name}:upload", 99, method="UploadDataset")

    def ask(self, moment: float) -> Seen:
        path = "/inference/v1/chat/completions"
        return self.call(moment, "POST", path, copy.deepcopy(QUESTION), "ask", method="CreateChatCompletion")


def clean() -> Record:
    """Data, an approval, two jobs, a deployment, two questions, reads, and an end by the gateway itself."""
    record = Record()
    record.dataset(90, "mine")
    record.dataset(91, "theirs", session=OTHER)
    record.upload(92, "mine")
    record.approve()
    record.job(101)
    record.job(102, "j2", "m2")
    record.deploy(103)
    record.ask(104)
    record.ask(105)
    record.call(106, "GET", "/v1/accounts/fireworks/models", query="pageSize=5", method="ListModels")
    record.call(107, "GET", f"{JOBS}/j1", audited=False)
    end = record.call(150, "DELETE", f"{DEPLOYMENTS}/d1", query="ignoreChecks=true", audited=False)
    record.row(
        149, "gateway:reaper", "DeleteDeployment", "accounts/acct/deployments/d1", "allowed", "approved-limit", {}
    )
    record.case.resources[end.path.removeprefix("/v1/")].end = 150
    return record


def test_a_clean_case_passes() -> None:
    assert check(clean().case) == []


def rewrite(record: Record, place: int, **changes: Any) -> None:
    """Change a logged request together with its audit row: only the promise is broken, not the bookkeeping."""
    seen = record.case.log[place]
    row = next(row for row in record.case.audit if row["detail"].get("digest") == digest_of(seen))
    for name, value in changes.items():
        setattr(seen, name, value)
    row["detail"]["digest"] = digest_of(seen)


DOCTORED: dict[str, tuple[str, Callable[[Record], object]]] = {
    "a destructive call": ("manifest", lambda r: r.call(110, "DELETE", "/v1/accounts/acct/datasets/mine")),
    "a custom verb": ("manifest", lambda r: r.call(110, "POST", f"{JOBS}/j1:cancel", {})),
    "a method that does not exist": ("manifest", lambda r: r.call(110, "POST", "/v1/accounts/acct/secrets", {})),
    "no audit row": ("unaudited", lambda r: r.call(110, "POST", "/v1/accounts/acct/models", {}, audited=False)),
    "a read without audit row": ("unaudited", lambda r: r.call(1, "GET", "/v1/accounts/acct/models", audited=False)),
    "an audit row that came later": ("unaudited", lambda r: setattr(r.case.log[0], "time", 80.0)),
    "one row, two calls": ("unaudited", lambda r: r.case.log.append(copy.copy(r.case.log[2]))),
    "an end that was not written down": ("unaudited", lambda r: r.case.audit.pop()),
    "another account's data": ("account", lambda r: r.call(110, "GET", "/v1/accounts/other/datasets")),
    "another account in a query": ("account", lambda r: rewrite(r, 7, query=[("filter", "accounts/other/datasets/d")])),
    "another account in a body": (
        "account",
        lambda r: rewrite(r, 3, body=JOB | {"dataset": "accounts/other/datasets/d"}),
    ),
    "a model for the catalogue": (
        "account",
        lambda r: rewrite(r, 3, body=JOB | {"outputModel": "accounts/fireworks/models/m"}),
    ),
    "a header of the caller": ("headers", lambda r: r.case.log[0].headers.update({"x-role": "admin"})),
    "another credential": ("headers", lambda r: r.case.log[0].headers.update({"authorization": "Bearer fw_caller"})),
    "an escaped path": ("path", lambda r: rewrite(r, 0, path="/v1/accounts/acct/datasets%2Fx")),
    "an upload into another's data": ("other-session", lambda r: r.upload(110, "theirs")),
    "a name taken over": ("other-session", lambda r: rewrite(r, 1, created="accounts/acct/datasets/mine")),
    "an approval by nobody": ("forged-approval", lambda r: r.case.approvals.clear()),
    "an approval for another session": ("forged-approval", lambda r: setattr(r.case.approvals[0], "session", OTHER)),
    "an approval of what was not shown": ("unread", lambda r: setattr(r.case.approvals[0], "shown", "Go on?")),
    "spend before the approval": ("unapproved", lambda r: setattr(r.case.approvals[0], "time", 101.5)),
    "spend without a grant": ("unapproved", lambda r: r.case.audit[4]["detail"].pop("grant")),
    "more epochs": ("uncovered", lambda r: rewrite(r, 3, body=JOB | {"epochs": 50})),
    "a field that nobody approved": ("uncovered", lambda r: rewrite(r, 3, body=JOB | {"nodes": 1})),
    "a missing window": ("uncovered", lambda r: rewrite(r, 5, body=DEPLOYMENT | {"autoscalingPolicy": {}})),
    "true for one": ("uncovered", lambda r: rewrite(r, 3, body=JOB | {"epochs": True})),
    "one job more": ("calls", lambda r: r.job(110, "j3", "m3")),
    "one question more": ("calls", lambda r: r.ask(110)),
    "more replicas": ("overspent", lambda r: r.deploy(104, maxReplicaCount=9)),
    "a job that ran on": ("overrun", lambda r: setattr(next(iter(r.case.resources.values())), "start", -2000.0)),
    "above the session's limit": ("limit", lambda r: r.case.sessions[ME].update({"spendLimitUsd": "0.015"})),
    "above what was approved in all": ("ceiling", lambda r: _approve_by_ceiling(r)),
    "spend after the end": ("revoked", lambda r: r.case.audit.insert(4, r.case.audit[3] | {"verdict": "revoked"})),
    "a reservation that vanished": ("ledger", lambda r: r.case.grants[0].update({"reserved_micros": 5})),
    "a sum that is not its parts": ("ledger", lambda r: r.case.limits.append({"session": ME, "held_micros": 7})),
    "a negative sum": ("ledger", lambda r: r.case.grants[0].update({"settled_micros": -5})),
    "a grant above its limit": ("ledger", lambda r: _settle(r, 30_000)),
    "a broken chain": ("audit", lambda r: setattr(r.case, "chain", "row 3 is missing")),
}


def _approve_by_ceiling(record: Record) -> None:
    """What the ceiling let through is more than the ceiling."""
    record.case.approvals.clear()
    record.case.sessions[ME] = {"autoApprove": {"maxUsd": "0.01"}}
    record.case.plans[(ME, PLAN)] = DOCUMENT
    record.case.audit[3]["principal"] = "autoApprove, set by ann"


def _settle(record: Record, micros: int) -> None:
    grant = record.case.grants[0]
    grant["settled_micros"] = micros
    row = {"grant_id": grant["id"], "state": "settled", "accrued_micros": micros, "amount_micros": 0, "resource": "x"}
    record.case.reservations.append(row)


@pytest.mark.parametrize("kind", list(DOCTORED))
def test_each_violation_is_found(kind: str) -> None:
    rule, doctor = DOCTORED[kind]
    record = clean()
    doctor(record)
    assert rule in {violation.rule for violation in check(record.case)}


def test_the_log_is_plain_data() -> None:
    seen = clean().case.log[3]
    assert json.loads(json.dumps(seen.to_json()))["path"] == JOBS
