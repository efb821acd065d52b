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
