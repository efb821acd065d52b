"""Evaluators that a model writes, with a scripted model behind the planner's path: same gate, few repairs, kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pilotlight.scripted_model import ScriptedModel, Turn
from runner.evaluators.writer import ATTEMPTS
from tests.fixtures.planner_control import DATASET, Control
from tests.fixtures.planner_desk import Desk, open_desk
from tests.fixtures.planner_server import Server

SPEC = "```markdown\n## What is correct\n\nThe label of the row.\n```\n"
BAD = f"{SPEC}```python\ndef evaluate(row, completion):\n    return 1.0\n```"
GOOD = f"{SPEC}```python\ndef evaluate(row, completion):\n    return float(completion == row['ground_truth'])\n```"


class ModelServer(Server):
    """Passes the planner's model calls on to a scripted model."""

    def __init__(self, control: Control, model: ScriptedModel) -> None:
        super().__init__(control)
        self.model = httpx.AsyncClient(transport=httpx.ASGITransport(model.app()), base_url="http://model")
        self.key = model.key
        self.app.router.routes.append(Route("/planner/v1/messages", self.ask, methods=["POST"]))

    async def ask(self, request: Request) -> Response:
        if self.c.refusing.get("CreatePlannerMessage"):
            body = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no allowance is left"}}
            return Response(httpx.Response(403, json=body).content, 403)
        headers = {"x-api-key": self.key, "anthropic-version": "2023-06-01", "content-type": "application/json"}
        reply = await self.model.post("/v1/messages", content=await request.body(), headers=headers)
        return Response(reply.content, reply.status_code)


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(key="k")


@pytest.fixture
def desk(control: Control, model: ScriptedModel, tmp_path: Path) -> Iterator[Desk]:
    control.models, control.confined = ["claude-sonnet-5-5"], False
    control.instructions = [f"Generate an evaluator for {DATASET}. Score whether the reply is the right queue."]
    with open_desk(control, tmp_path, ModelServer(control, model).app) as desk:
        yield desk


def test_what_the_gate_finds_is_repaired_once(desk: Any, control: Any, model: ScriptedModel) -> None:
    model.turns[:] = [Turn.say(BAD), Turn.say(GOOD)]
    desk.run()
    assert control.finished["status"] == "succeeded"
    assert (desk.work / "outputs/evaluator.py").read_text() in GOOD
    assert "written by the model claude-sonnet-5-5" in (desk.work / "outputs/eval_spec.md").read_text()
    first, second = (received.body for received in model.received)
    assert "tools" not in first
    assert "Score whether the reply is the right queue." in first["messages"][0]["content"]
    assert "everything alike" in second["messages"][-1]["content"]


@pytest.mark.parametrize("said", [BAD, "Sure! def evaluate(row, completion): ...", GOOD + GOOD])
def test_after_three_attempts_it_asks(desk: Any, control: Any, model: ScriptedModel, said: str) -> None:
    model.otherwise = Turn.say(said)
    desk.run()
    assert "none passed its checks" in control.ask_open().text
    assert not (desk.work / "outputs/evaluator.py").exists()
    assert len(model.received) == ATTEMPTS
    (desk.work / "state/graph.db").unlink()
    desk.run()  # all over again, and nothing is paid for twice
    assert len(model.received) == ATTEMPTS


def test_without_an_allowance_the_library_writes_and_says_so(desk: Any, control: Any, model: ScriptedModel) -> None:
    control.refusing["CreatePlannerMessage"] = "no-grant"
    desk.run()
    assert control.finished["status"] == "succeeded"
    assert any("no allowance is left" in event["text"] for event in control.of("status_info"))
    assert model.received == []
