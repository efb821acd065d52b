"""From an instruction to an end, with a real runner process on a real socket."""

import json

from tests.fixtures.control import ControlServer


def test_a_session_asks_gets_its_answer_and_succeeds(control: ControlServer) -> None:
    session = control.create("say hello; ask q1; write outputs/x.txt content; finish succeeded")
    view = control.settle(session, "waiting")
    assert view["statusInfo"] == "Which model? (q1)"
    assert view["question"]["questionId"] == "q1"
    control.update(session, instruction="Model B please")
    view = control.settle(session, "succeeded")
    assert view["question"] is None
    events = control.events(session)
    assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))
    kinds = [event["type"] for event in events]
    assert kinds == ["status", "status", "status_info", "question", "status", "answer", "status", "status", "status"]
    answer = json.loads((control.workspace(session) / "answers.jsonl").read_text())
    assert answer["text"] == "Model B please"
    assert answer["decision"] is None
    assert [artifact["path"] for artifact in view["artifacts"]] == ["outputs/x.txt"]


def answers_of(control: ControlServer, session: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (control.workspace(session) / "answers.jsonl").read_text().splitlines()]


def test_a_plan_is_shown_revised_approved_and_promoted(control: ControlServer) -> None:
    session = control.create("plan 1.50; plan 1.20; promote; finish")
    first = control.settle(session, "waiting")
    assert first["question"]["kind"] == "plan_approval"
    assert first["question"]["planHash"] == first["plan"]["planHash"]
    assert "ember-500k" in first["statusInfo"]
    assert first["plan"]["highUsd"] == "1.500000"
    control.update(session, instruction="Use LoRA rank 16 instead")
    second = control.settle(session, "waiting")
    assert second["plan"]["planHash"] != first["plan"]["planHash"]
    stale = {
        "questionId": second["question"]["questionId"],
        "decision": "approve",
        "planHash": first["plan"]["planHash"],
    }
    error = control.update(session, 409, answer=stale)
    assert error["error"]["status"] == "ABORTED"
    assert control.get(f"/{session}")["cost"]["approved"] == "0.000000"
    control.update(session, instruction="Approved, proceed.", planHash=second["plan"]["planHash"])
    third = control.settle(session, "waiting")
    assert third["question"]["kind"] == "promotion"
    assert third["plan"]["approvedBy"] == "admin@acct"
    assert third["cost"]["approved"] == "0.600000"
    control.update(session, instruction="Proceed with the winning config.")
    done = control.settle(session, "succeeded")
    assert [line["grant"] for line in done["cost"]["lines"]] == ["sweep", "train"]
    assert done["cost"]["approved"] == "0.000000"  # unused grants end with the session
    decisions = [answer["decision"] for answer in answers_of(control, session)]
    assert decisions == ["revise", "approve", "approve"]
    assert answers_of(control, session)[0]["changes"] == {"lora_ranks": [16]}


def test_a_rejected_plan_ends_the_session_free_of_charge(control: ControlServer) -> None:
    session = control.create("plan; finish")
    control.settle(session, "waiting")
    assert control.update(session, instruction="Reject.")["status"] == "cancelled"
    assert control.get(f"/{session}")["cost"]["soFar"] == "0.000000"
    error = control.update(session, 400, instruction="Do it after all")
    assert error["error"]["status"] == "FAILED_PRECONDITION"


def test_words_that_decide_nothing_keep_the_session_waiting(control: ControlServer) -> None:
    session = control.create("plan; finish")
    question = control.settle(session, "waiting")["question"]
    for text in ("Proceed? No.", "Approved if my boss agrees", "hm", 'He said "approved, proceed."'):
        view = control.update(session, instruction=text)
        assert view["status"] == "waiting"
        assert view["question"] == question
        assert view["cost"]["approved"] == "0.000000"
    last, before = control.events(session)[-1], control.events(session)[-2]
    assert last["type"] == "question"
    assert "Approved, proceed." in before["payload"]["text"]


def test_a_question_is_answered_by_a_turn_and_approves_nothing(control: ControlServer) -> None:
    session = control.create("plan; finish")
    question = control.settle(session, "waiting")["question"]
    assert control.update(session, instruction="How much has this cost so far?")["status"] == "pending"
    view = control.settle_until(session, lambda view: view["status"] == "waiting" and view["turn"] == 2)
    assert (view["question"], view["cost"]["approved"]) == (question, "0.000000")
    assert "nothing was approved" in json.dumps(control.events(session))
    control.update(session, instruction="Approved, proceed.")
    control.settle(session, "succeeded")


def test_auto_approve_covers_plans_up_to_its_ceiling(control: ControlServer) -> None:
    kinds = ["plan_approval", "promotion"]
    ceiling = {"maxUsd": "1.50", "expireTime": "2100-01-01T00:00:00Z", "kinds": kinds}
    session = control.create("plan 1.50; promote; finish", autoApprove=ceiling)
    view = control.settle(session, "succeeded")
    assert view["plan"]["approvedBy"] == "autoApprove, set by admin@acct"
    assert [event["payload"]["principal"] for event in control.events(session) if event["type"] == "answer"] == [
        "autoApprove, set by admin@acct"
    ] * 2
    above = control.create("plan 1.52; finish", autoApprove=ceiling)
    assert control.settle(above, "waiting")["question"]["kind"] == "plan_approval"


def test_a_runner_that_breaks_after_reading_its_answer_fails(control: ControlServer) -> None:
    ceiling = {"maxUsd": "1.50", "expireTime": "2100-01-01T00:00:00Z"}
    session = control.create("plan; crash afterwards", autoApprove=ceiling)
    control.settle(session, "failed")
    assert [event["payload"].get("move") for event in control.events(session) if event["type"] == "status"] == [
        "create",
        "start",
        "fail",
    ]


def test_a_plan_above_the_spend_limit_is_refused(control: ControlServer) -> None:
    session = control.create("plan 1.50; finish", spendLimitUsd="1.00")
    control.settle(session, "failed")
    assert control.get(f"/{session}")["plan"] is None


def test_a_runner_that_just_ends_fails_the_turn_with_its_last_words(control: ControlServer) -> None:
    session = control.create("crash out of luck; say again; finish")
    control.settle(session, "failed")
    error = next(event for event in control.events(session) if event["type"] == "error")
    assert "exit code 1" in error["payload"]["message"]
    assert "boom: out of luck" in error["payload"]["message"]
    control.update(session, instruction="finish")
    assert control.settle(session, "succeeded")["statusInfo"] == "again"
    silent = control.create("quit")
    control.settle(silent, "failed")


def test_a_succeeded_session_goes_on_with_its_workspace(control: ControlServer) -> None:
    session = control.create("write outputs/a.txt one; finish")
    control.settle(session, "succeeded")
    assert control.update(session, instruction="write outputs/b.txt two; finish")["status"] == "pending"
    view = control.settle(session, "succeeded")
    assert [artifact["path"] for artifact in view["artifacts"]] == ["outputs/a.txt", "outputs/b.txt"]
    assert view["turn"] == 2


def test_an_instruction_to_a_running_session_is_not_lost(control: ControlServer) -> None:
    session = control.create("say waiting; wait go; finish")
    control.settle_until(session, lambda view: view["statusInfo"] == "waiting")
    control.update(session, instruction="say steered; finish")
    (control.workspace(session) / "go").touch()
    assert control.settle(session, "succeeded", turn=2)["statusInfo"] == "steered"


def test_cancel_ends_the_runner_and_keeps_the_record(control: ControlServer) -> None:
    session = control.create("wait never")
    control.settle(session, "running")
    reply = control.post(f"/{session}:cancel", {})
    assert reply["session"]["status"] == "cancelled"
    assert reply["resources"] == []
    assert control.runner_count(session) == 0
    assert control.post(f"/{session}:cancel", {})["session"]["status"] == "cancelled"
    done = control.create("finish")
    control.settle(done, "succeeded")
    assert control.post(f"/{done}:cancel", {}, 400)["error"]["status"] == "FAILED_PRECONDITION"


def test_a_waiting_session_has_no_process_and_no_socket(control: ControlServer) -> None:
    session = control.create("ask q; finish")
    control.settle(session, "waiting")
    control.wait_idle(session)
    assert control.runner_count(session) == 0
    assert list((control.settings.home / "run").glob(f"{session}*")) == []


def test_estimates_are_recorded_when_a_run_ends(control: ControlServer) -> None:
    session = control.create("plan; phase sweep started; phase sweep completed; finish")
    control.settle(session, "waiting")
    control.update(session, instruction="Approved, proceed.")
    control.settle(session, "succeeded")
    page = control.http.get("/v1/accounts/acct/estimates", params={"filter": f'session:"{session}"'}).json()
    rows = {row["phase"]: row for row in page["estimates"]}
    assert set(rows) == {"sweep", "train", "total"}
    assert rows["total"]["expectedUsd"] == "0.400000"
    assert rows["total"]["actualUsd"] == "0.000000"
    assert rows["sweep"]["actualSeconds"] >= 0
    assert rows["sweep"]["settled"] is True
    assert page["ratio"]["runs"] == 0  # nothing was spent, so there is nothing to learn from
