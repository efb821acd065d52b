"""The whole way of a session through the graph, against a scripted control process on a real socket."""

from typing import Any

from pilotlight.plan import Phase
from pilotlight.question import QuestionKind


def phases(control: Any) -> list[tuple[str, str]]:
    return [(event["phase"], event["state"]) for event in control.of("phase")]


def test_from_instruction_to_report(desk: Any, control: Any) -> None:
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PLAN_APPROVAL
    assert control.applied == []  # nothing is created before approval
    control.reply("Approved, proceed.")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PROMOTION
    assert "c2 **(winner)**" in question.text
    control.reply("Proceed with the winning config.")
    desk.run()
    assert control.finished is not None
    assert control.finished["status"] == "succeeded", control.finished
    seen = phases(control)
    assert [phase for phase, state in seen if state != "started"] == [phase.value for phase in Phase]
    assert ("train", "skipped") in seen  # the winner was trained on the whole training side already
    report = (desk.work / "final_report.md").read_text()
    assert "accounts/local/models/ft-1779157376-41e1-c2" in report
    assert "accounts/local/deployments/ft-1779157376-41e1-deploy" in report
    assert control.downloads == 1
    assert len(control.applied) == len(set(control.applied))
