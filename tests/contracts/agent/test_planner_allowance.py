"""The allowance for a planner's own model, from creation to approval, with the official SDK in the runner's place."""

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from pydantic import SecretStr

from pilotlight.scripted_model import ScriptedModel, TextPart, ToolPart, Turn
from tests.fixtures.asgi import serving
from tests.fixtures.control import ControlServer
from tests.fixtures.databases import Databases

KEY = "sk-ant-of-the-gateway"
ASK: dict[str, Any] = {
    "model": "claude-sonnet-5-5",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "Run SFT on tickets."}],
    "tools": [{"name": "count_rows", "input_schema": {"type": "object"}}],
}


@pytest.fixture(scope="module")
def model() -> ScriptedModel:
    return ScriptedModel(key=KEY)


@pytest.fixture(scope="module")
def control(
    tmp_path_factory: pytest.TempPathFactory, model: ScriptedModel, module_databases: Databases
) -> Iterator[ControlServer]:
    home = tmp_path_factory.mktemp("p")
    with serving(model.app()) as url:
        settings: dict[str, Any] = {
            "database_url": module_databases.url(home / "control.db"),
            "anthropic_key": SecretStr(KEY),
            "anthropic_url": url,
        }
        server = ControlServer(home, **settings).start()
        yield server
        server.stop()


def runner_of(control: ControlServer, session: str) -> anthropic.Anthropic:
    """The official SDK on the socket of the session's turn, without any key of ours."""
    deadline = time.monotonic() + 20
    while not (found := list((control.settings.home / "run").glob(f"{session}-*/gateway.sock"))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    transport = httpx2.HTTPTransport(uds=str(found[0]))
    http = httpx2.Client(transport=transport)
    return anthropic.Anthropic(api_key="none", base_url="http://gateway/planner", http_client=http, max_retries=0)


def test_from_creation_to_approval(control: ControlServer, model: ScriptedModel) -> None:
    look = [TextPart(text="Let me look."), ToolPart(name="count_rows", input={})]
    model.turns[:] = [
        Turn(parts=look, input_tokens=90, output_tokens=7),
        Turn.say("It has 3 rows, and that is all of them.", input_tokens=120, output_tokens=11),
    ]
    session = control.create("wait go; plan 1.50; wait on; finish")
    fresh = control.get(f"/{session}")["plannerAllowance"]
    assert (fresh["limitUsd"], fresh["spentUsd"], fresh["open"]) == ("0.250000", "0.000000", True)
    assert fresh["models"] == ["claude-sonnet-5-5"]
    with runner_of(control, session) as sdk:
        assert sdk.messages.create(**ASK).stop_reason == "tool_use"
        with sdk.messages.stream(**ASK, system="You plan.") as stream:
            assert "".join(stream.text_stream) == "It has 3 rows, and that is all of them."
        assert stream.get_final_message().usage.output_tokens == 11
        with pytest.raises(anthropic.BadRequestError, match="container"):
            sdk.messages.create(**ASK, container="c1")
    spent = Decimal(90 * 2 + 7 * 10 + 120 * 2 + 11 * 10) / 1_000_000
    view = control.settle_until(session, lambda view: Decimal(view["plannerAllowance"]["spentUsd"]) == spent)
    assert Decimal(view["cost"]["soFar"]) == spent
    assert [(line["grant"], line["calls"]) for line in view["cost"]["lines"]] == [("allowance", 2)]
    (control.workspace(session) / "go").touch()
    waiting = control.settle(session, "waiting")
    control.update(session, instruction="Approved, proceed.", planHash=waiting["plan"]["planHash"])
    with runner_of(control, session) as sdk, pytest.raises(anthropic.PermissionDeniedError, match="no-grant"):
        sdk.messages.create(**ASK)
    (control.workspace(session) / "on").touch()
    done = control.settle(session, "succeeded")
    assert not done["plannerAllowance"]["open"]
    assert len(model.received) == 2
    assert {one.headers["authorization"] for one in model.received} == {f"Bearer {KEY}"}
    assert KEY not in str(control.events(session)) + str(done) + everything_in(control.workspace(session))
    methods = [event["payload"]["method"] for event in control.events(session) if event["type"] == "rpc"]
    assert set(methods) == {"CreatePlannerMessage"}


def test_the_spend_limit_of_a_session_is_above_its_allowance(control: ControlServer) -> None:
    session = control.create("finish", spendLimitUsd="0.10")
    assert control.get(f"/{session}")["plannerAllowance"]["limitUsd"] == "0.100000"
    control.settle(session, "succeeded")


def test_a_key_of_a_user_does_not_reach_the_model(control: ControlServer, model: ScriptedModel) -> None:
    before = len(model.received)
    for path in ("/planner/v1/messages", "/inference/v1/../planner/v1/messages", "/v1/planner/v1/messages"):
        assert control.http.post(path, json=ASK).status_code in (403, 404, 405)
    assert len(model.received) == before


def everything_in(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
