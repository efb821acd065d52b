"""Two updates at once, replays and refusals [DESIGN section 3]."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fixtures.control import ControlServer


def waiting(control: ControlServer, script: str = "ask q1; finish") -> str:
    session = control.create(script)
    control.settle(session, "waiting")
    return session


def test_the_same_request_id_creates_one_session(control: ControlServer) -> None:
    body = {"instruction": "ask q; finish", "requestId": "create-1"}
    first = control.post("", body)
    assert control.post("", body) == first
    error = control.post("", body | {"instruction": "ask other; finish"}, 409)
    assert error["error"]["status"] == "ABORTED"


def test_validate_only_creates_nothing(control: ControlServer) -> None:
    before = control.get("")["totalSize"]
    reply = control.post("", {"instruction": "finish", "validateOnly": True})
    assert reply["validateOnly"] is True
    assert control.get("")["totalSize"] == before


def test_racing_answers_are_taken_once(control: ControlServer) -> None:
    session = waiting(control)

    def answer(number: int) -> int:
        body = {"answer": {"questionId": "q1", "values": {"base_models": "a"}}, "requestId": f"r{number}"}
        return control.http.post(f"{control.collection}/{session}:update", json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(answer, range(8)))
    assert sorted(codes) == [200, *[409] * 7]
    control.settle(session, "succeeded")
    assert [event["type"] for event in control.events(session)].count("answer") == 1


def test_the_same_update_again_gets_the_stored_reply(control: ControlServer) -> None:
    session = waiting(control)
    body: dict[str, Any] = {"instruction": "A", "requestId": "u1", "questionId": "q1"}
    first = control.update(session, **body)
    control.settle(session, "succeeded")
    assert control.update(session, **body) == first
    error = control.update(session, 409, **body | {"instruction": "B"})
    assert error["error"]["status"] == "ABORTED"
    error = control.update(session, 409, **body | {"requestId": "u2"})
    assert "answered already" in error["error"]["message"]


def test_a_stale_etag_is_refused(control: ControlServer) -> None:
    session = control.create("ask q1; ask q2; finish")
    etag = control.settle(session, "waiting")["etag"]
    control.update(session, instruction="A", etag=etag)
    control.settle_until(session, lambda view: view["question"] is not None and view["question"]["questionId"] == "q2")
    assert control.update(session, 409, instruction="A", etag=etag)["error"]["status"] == "ABORTED"
    assert control.update(session, 409, instruction="A", questionId="q1")["error"]["status"] == "ABORTED"
    assert control.get(f"/{session}")["status"] == "waiting"


def test_an_answer_without_a_question_is_refused(control: ControlServer) -> None:
    session = control.create("finish")
    control.settle(session, "succeeded")
    for body in (
        {"answer": {"questionId": "q1", "text": "A"}},
        {"instruction": "A", "questionId": "q1"},
        {"instruction": "Approved, proceed.", "planHash": "0" * 64},
    ):
        assert control.update(session, 400, **body)["error"]["status"] == "FAILED_PRECONDITION"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instruction": ""},
        {"instruction": "  \n"},
        {"instruction": "a\x00b"},
        {"instruction": "A", "answer": {"questionId": "q1", "text": "A"}},
        {"instruction": "A", "unknown": 1},
        {"instruction": 5},
        {"instruction": "x" * 20_001},
        {"instruction": "A", "requestId": ""},
        {"instruction": "A", "planHash": "abc"},
        {"answer": {"questionId": "q1"}},
        {"answer": {"questionId": "q1", "values": {"nothing": "a"}}},
        {"answer": {"questionId": "q1", "values": {"base_models": "c"}}},
        {"answer": {"questionId": "q1", "values": {"base_models": ["a"]}}},
        {"answer": {"questionId": "q1", "decision": "approve"}},
        {"answer": {"questionId": "q1", "decision": "maybe"}},
        {"answer": {"questionId": "q1", "text": "A"}, "questionId": "q2"},
    ],
)
def test_malformed_updates_are_refused_and_change_nothing(control: ControlServer, body: dict[str, Any]) -> None:
    session = pytest_session(control)
    error = control.update(session, 400, **body)["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["message"]
    assert control.get(f"/{session}")["status"] == "waiting"


def pytest_session(control: ControlServer) -> str:
    """One waiting session for all malformed bodies: they change nothing."""
    found = control.get("", filter='instruction = "ask q1; say malformed"')["sessions"]
    return found[0]["sessionId"] if found else waiting(control, "ask q1; say malformed")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"instruction": "\xff"}', b'{"instruction": "\\ud800"}', b"NaN"]
)
def test_bodies_that_are_not_json_objects_are_refused(control: ControlServer, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = control.http.post(control.collection, content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_structured_decisions(control: ControlServer) -> None:
    session = waiting(control, "plan; plan 1.20; finish")
    question = control.get(f"/{session}")["question"]
    revise = {"questionId": question["questionId"], "decision": "revise"}
    assert "revise" in control.update(session, 400, answer=revise)["error"]["message"]
    control.update(session, answer=revise | {"text": "use rank 8 only", "planHash": question["planHash"]})
    view = control.settle_until(session, lambda view: view["status"] == "waiting" and view["turn"] == 2)
    approve = {"questionId": view["question"]["questionId"], "decision": "approve"}
    control.update(session, answer=approve | {"planHash": view["question"]["planHash"]})
    assert control.settle(session, "succeeded")["plan"]["approvedBy"] == "admin@acct"


def test_keys_accounts_and_roles(control: ControlServer) -> None:
    session = waiting(control)
    path = f"{control.collection}/{session}"
    assert control.http.get(path, headers={"authorization": ""}).status_code == 401
    assert control.http.get(path, headers={"authorization": "Bearer fw_nonsense"}).status_code == 401
    assert control.http.get("/v1/accounts/other/sessions").status_code == 403
    assert control.http.get(f"{control.collection}/1-0000").status_code == 404
    reader = control.key_of("reader", "inference-user")
    helper = control.key_of("helper", "contributor")
    for key in (reader, helper):
        headers = {"authorization": f"Bearer {key}"}
        assert control.http.get(path, headers=headers).status_code == 200
        for action in (":update", ":cancel", ":cleanup"):
            body = {"instruction": "A"} if action == ":update" else {}
            assert control.http.post(path + action, json=body, headers=headers).status_code == 403
        assert control.http.delete(path, headers=headers).status_code == 403
    own = control.http.post(
        control.collection, json={"instruction": "finish"}, headers={"authorization": f"Bearer {helper}"}
    )
    assert own.json()["createdBy"] == "helper@acct"
    refused = control.http.post(
        control.collection, json={"instruction": "finish"}, headers={"authorization": f"Bearer {reader}"}
    )
    assert refused.status_code == 403


def test_delete_waits_for_the_end(control: ControlServer) -> None:
    session = control.create("wait never")
    control.settle(session, "running")
    assert control.http.delete(f"{control.collection}/{session}").status_code == 400
    control.post(f"/{session}:cancel", {})
    assert control.http.delete(f"{control.collection}/{session}").status_code == 200
    control.get(f"/{session}", 404)
    assert not control.workspace(session).exists()


def test_cleanup_lists_before_it_removes(control: ControlServer) -> None:
    session = waiting(control)
    assert control.post(f"/{session}:cleanup", {}) == {"resources": []}
    assert control.post(f"/{session}:cleanup", {"confirm": True}) == {"resources": []}


def test_lists_filter_order_and_page(control: ControlServer) -> None:
    marks = [control.create(f"finish; say listed {number}") for number in range(3)]
    for mark in marks:
        control.settle(mark, "succeeded")
    wanted: dict[str, Any] = {"filter": 'instruction:"listed" AND status = "succeeded"', "pageSize": 2}
    first = control.get("", **wanted)
    assert [item["sessionId"] for item in first["sessions"]] == marks[:0:-1]
    rest = control.get("", **wanted, pageToken=first["nextPageToken"])
    assert [item["sessionId"] for item in rest["sessions"]] == marks[:1]
    assert rest["nextPageToken"] == ""
    control.get("", 400, filter="secret = 1")
    control.get("", 400, orderBy="secret")


def test_what_is_not_served_says_so(control: ControlServer) -> None:
    assert control.http.get("/healthz", headers={"authorization": ""}).json() == {"status": "ok"}
    assert control.http.put(control.collection, json={}).status_code == 501
    assert control.http.get("/nowhere").json()["error"]["status"] == "NOT_FOUND"
    unknown = control.http.get("/v1/accounts/acct/gadgets")
    assert unknown.json()["error"]["status"] == "PERMISSION_DENIED"
    away = control.http.get("/v1/accounts/acct/datasets")
    assert (away.status_code, away.json()["error"]["status"]) == (503, "UNAVAILABLE")
    assert control.http.get("/turn/v1/context").status_code == 404


def test_a_misspelt_query_parameter_is_an_error(control: ControlServer) -> None:
    for path in ("sessions", "estimates"):
        answer = control.http.get(f"/v1/accounts/acct/{path}", params={"page_size": 1})
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert "pageSize" in answer.json()["error"]["message"]
        assert control.http.get(f"/v1/accounts/acct/{path}", params={"pageSize": 1}).status_code == 200
