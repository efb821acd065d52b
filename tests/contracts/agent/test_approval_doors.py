"""Approvals and limits through the real doors: HTTP for people, the session's own socket for its runner."""

import json
from typing import Any

import httpx
import pytest

from tests.fixtures.control import ControlServer
from tests.fixtures.databases import Databases

Json = dict[str, Any]
CEILING = {"maxUsd": "9", "expireTime": "2100-01-01T00:00:00Z"}


def as_key(control: ControlServer, key: str) -> httpx.Client:
    return httpx.Client(base_url=control.http.base_url, headers={"authorization": f"Bearer {key}"}, timeout=30)


def limited_key(control: ControlServer, **limits: str) -> Json:
    path = "/v1/accounts/acct/users/admin/apiKeys"
    reply = control.http.post(path, json={"apiKey": limits})
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_runner_cannot_answer_approve_or_raise_anything(control: ControlServer) -> None:
    session = control.create("plan 1.50; forge; plan 1.40; finish")
    question = control.settle(session, "waiting")["question"]
    other = control.create("plan 1.20; finish")
    asked = control.settle(other, "waiting")["question"]
    approve = {"questionId": question["questionId"], "decision": "approve", "planHash": question["planHash"]}
    foreign = {"questionId": asked["questionId"], "decision": "approve", "planHash": asked["planHash"]}
    sessions = "/v1/accounts/acct/sessions"
    promotion = {"questionId": "x1", "kind": "promotion", "text": "All good?"}
    forgeries: list[tuple[str, str, Json]] = [
        ("POST", f"/turn/v1/answers/{question['questionId']}", approve),
        ("PUT", f"/turn/v1/answers/{question['questionId']}", approve),
        ("POST", "/turn/v1/answer", approve),
        ("POST", "/turn/v1/answers", approve),
        ("POST", "/turn/v1/approve", approve),
        ("POST", "/turn/v1/grants", {"grants": []}),
        ("POST", f"/turn/v1/answers/{asked['questionId']}", foreign),
        ("POST", "/turn/v1/question", {**question, "decision": "approve"}),
        ("POST", "/turn/v1/question", {**promotion, "answer": approve}),
        ("POST", "/turn/v1/question", {**promotion, "questionId": question["questionId"]}),
        ("POST", "/turn/v1/question", promotion),
        ("POST", "/turn/v1/events", {"events": [{"type": "answer", "payload": approve, "key": "a"}]}),
        ("POST", "/turn/v1/events", {"events": [{"type": "status", "payload": {"status": "succeeded"}, "key": "b"}]}),
        ("POST", "/turn/v1/events", {"events": [{"type": "question", "payload": promotion, "key": "c"}]}),
        ("POST", f"{sessions}/{session}:update", {"answer": approve}),
        ("POST", f"{sessions}/{session}:update", {"instruction": "Approved, proceed."}),
        ("POST", f"{sessions}/{other}:update", {"answer": foreign}),
        ("POST", f"{sessions}/{other}:update", {"instruction": "Approved, proceed."}),
        ("POST", sessions, {"instruction": "Run SFT", "autoApprove": CEILING}),
        ("POST", "/v1/accounts/acct/users/admin/apiKeys", {"apiKey": {}}),
        ("GET", f"{sessions}/{other}", {}),
    ]  # fmt: skip
    (control.workspace(session) / "forgeries").write_text(json.dumps(forgeries))
    control.update(session, instruction="Use rank 16 instead")
    view = control.settle(session, "waiting", turn=2)
    answers = json.loads((control.workspace(session) / "forged").read_text())
    let_in = [answer for answer in answers if answer[2] < 400]
    assert let_in == []
    assert len(answers) == len(forgeries)
    assert view["question"]["kind"] == "plan_approval"
    for name in (session, other):
        now = control.get(f"/{name}")
        assert (now["status"], now["plan"]["approvedBy"], now["cost"]["lines"]) == ("waiting", None, [])


def test_a_session_of_a_limited_key_is_bound_by_it(control: ControlServer) -> None:
    made = limited_key(control, monthlySpendLimitUsd="0.70", sessionSpendLimitUsd="5")
    with as_key(control, made["key"]) as client:
        reply = client.post(control.collection, json={"instruction": "plan 1.50; finish"})
        session = reply.json()["sessionId"]
        assert (reply.json()["createdKey"], reply.json()["spendLimitUsd"]) == (made["keyId"], "5.000000")
        control.settle(session, "waiting")
        for who in (client, control.http):  # not even who has no limit: the session remembers its key
            refused = who.post(f"{control.collection}/{session}:update", json={"instruction": "Approved, proceed."})
            error = refused.json()["error"]
            assert (refused.status_code, error["status"]) == (429, "RESOURCE_EXHAUSTED")
            assert error["details"][0]["reason"] == "spend.key-month"
            assert "cheaper plan" in error["message"]
            assert "[rule spend.key-month]" in error["message"]
        assert client.get(f"{control.collection}/{session}").json()["status"] == "waiting"


def test_the_planner_is_told_the_limit_of_the_key(control: ControlServer) -> None:
    made = limited_key(control, sessionSpendLimitUsd="1")
    with as_key(control, made["key"]) as client:
        session = client.post(control.collection, json={"instruction": "plan 1.50; finish"}).json()["sessionId"]
        control.settle(session, "failed")  # the scripted runner does not cut its plan to fit
    assert control.get(f"/{session}")["plan"] is None


def test_a_limited_key_pays_for_nothing_at_the_front_door(control: ControlServer) -> None:
    made = limited_key(control, monthlySpendLimitUsd="100")
    body = {"dataset": "accounts/acct/datasets/d", "baseModel": "accounts/fireworks/models/ember-500k"}
    with as_key(control, made["key"]) as client:
        refused = client.post("/v1/accounts/acct/supervisedFineTuningJobs", json=body)
        assert (refused.status_code, refused.json()["error"]["details"][0]["reason"]) == (403, "spend.key-direct")
        assert client.get("/v1/accounts/acct/supervisedFineTuningJobs").status_code == 503  # allowed; nothing is there


def test_the_setting_asks_for_another_person(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> None:
    home = tmp_path_factory.mktemp("d")
    url = databases.url(home / "control.db")
    control = ControlServer(home, database_url=url, approvals_distinct_principal=True).start()
    try:
        session = control.create("plan 1.50; finish")
        control.settle(session, "waiting")
        error = control.update(session, 403, instruction="Approved, proceed.")["error"]
        assert error["status"] == "PERMISSION_DENIED"
        assert "another person" in error["message"]
        control.post("", {"instruction": "x", "autoApprove": CEILING}, 403)
        control.post("", {"instruction": "x", "autoApprove": CEILING, "validateOnly": True}, 403)
        with as_key(control, control.key_of("bob", "user")) as bob:
            reply = bob.post(f"{control.collection}/{session}:update", json={"instruction": "Approved, proceed."})
            assert reply.status_code == 200, reply.text
        assert control.settle(session, "succeeded")["plan"]["approvedBy"] == "bob@acct"
    finally:
        control.stop()
