"""The control process ends and starts again on the same home."""

from tests.fixtures.control import ControlServer


def test_a_waiting_session_survives_a_restart(fresh: ControlServer) -> None:
    session = fresh.create("say before; ask q; say after; finish")
    before = fresh.settle(session, "waiting")
    fresh.stop()
    fresh.start()
    view = fresh.get(f"/{session}")
    assert (view["status"], view["statusInfo"], view["etag"]) == ("waiting", before["statusInfo"], before["etag"])
    fresh.update(session, instruction="A")
    assert fresh.settle(session, "succeeded")["statusInfo"] == "after"


def test_a_running_session_goes_on_after_a_restart_and_the_old_runner_is_gone(fresh: ControlServer) -> None:
    session = fresh.create("say one; wait go; say two; finish")
    fresh.settle_until(session, lambda view: view["statusInfo"] == "one")
    fresh.stop()
    assert fresh.runner_count(session) == 0
    fresh.start()
    (fresh.workspace(session) / "go").touch()
    assert fresh.settle(session, "succeeded")["statusInfo"] == "two"
    events = fresh.events(session)
    assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))
    assert [event["payload"]["text"] for event in events if event["type"] == "status_info"] == ["one", "two"]
    moves = [event["payload"]["move"] for event in events if event["type"] == "status"]
    assert moves == ["create", "start", "recover", "start", "succeed"]


def test_sessions_beyond_the_limit_queue_up(fresh: ControlServer) -> None:
    sessions = [fresh.create("wait go; finish") for _ in range(6)]
    busy = fresh.settings.concurrent_turns
    fresh.settle_until(sessions[busy - 1], lambda view: view["status"] == "running")
    statuses = [fresh.get(f"/{session}")["status"] for session in sessions]
    assert statuses == ["running"] * busy + ["pending"] * (6 - busy)
    assert fresh.post(f"/{sessions[-1]}:cancel", {})["session"]["status"] == "cancelled"
    for session in sessions[:-1]:
        (fresh.workspace(session) / "go").touch()
    for session in sessions[:-1]:
        fresh.settle(session, "succeeded")
