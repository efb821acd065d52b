"""A runner that is killed is no failure of its session, unless it is killed again and again at the same place."""

from typing import Any

from tests.fixtures.control import ControlServer


def moves(control: ControlServer, session: str) -> list[str]:
    return [event["payload"]["move"] for event in control.events(session) if event["type"] == "status"]


def errors(control: ControlServer, session: str) -> list[dict[str, Any]]:
    return [event["payload"] for event in control.events(session) if event["type"] == "error"]


def test_a_killed_runner_starts_again_and_the_session_goes_on(control: ControlServer) -> None:
    session = control.create("say before; die 2; say after; finish")
    assert control.settle(session, "succeeded")["statusInfo"] == "after"
    assert moves(control, session) == ["create", *(["start", "recover"] * 2), "start", "succeed"]
    assert errors(control, session) == []
    texts = [event["payload"]["text"] for event in control.events(session) if event["type"] == "status_info"]
    assert texts == ["before", "after"]


def test_after_three_deaths_at_one_place_the_session_fails_and_an_update_retries_it(control: ControlServer) -> None:
    session = control.create("say before; die 3; finish")
    control.settle(session, "failed")
    assert moves(control, session).count("start") == 3
    (error,) = errors(control, session)
    assert "killed 3 times in a row (signal 9)" in error["message"]
    assert f"firectl session update {session}" in error["hint"]
    control.update(session, instruction="say again")
    assert control.settle(session, "succeeded")["turn"] == 2


def test_deaths_with_progress_in_between_are_not_counted_together(control: ControlServer) -> None:
    session = control.create("die 5 loudly; finish")
    control.settle(session, "succeeded")
    assert moves(control, session).count("recover") == 5
