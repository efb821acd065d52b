"""Text that one of the databases could not hold is refused on both, wherever it comes in; any other text comes back."""

import pytest

from tests.fixtures.control import ControlServer

HARD = "naïve 日本語 🙂 \u0001 \u202e ' \" \\ % :x {y} \u2028"


@pytest.mark.parametrize("body", [{"instruction": "a\0b"}, {"instruction": "x", "requestId": "request-\0"}])
def test_a_nul_character_is_an_invalid_argument(control: ControlServer, body: dict[str, str]) -> None:
    before = len(control.get("", pageSize=200)["sessions"])
    assert control.post("", body, 400)["error"]["status"] == "INVALID_ARGUMENT"
    assert len(control.get("", pageSize=200)["sessions"]) == before


def test_a_nul_character_in_a_name_is_an_invalid_argument(control: ControlServer) -> None:
    assert control.get("/1-%00", 400)["error"]["status"] == "INVALID_ARGUMENT"
    response = control.http.post("/v1/accounts/acct/users", params={"userId": "nul"}, json={"displayName": "\0"})
    assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_any_other_text_comes_back(control: ControlServer) -> None:
    session = control.create(f"say {HARD}; finish")
    view = control.settle(session, "succeeded")
    assert view["instruction"] == f"say {HARD}; finish"
    said = [event["payload"]["text"] for event in control.events(session) if event["type"] == "status_info"]
    assert said == [" ".join(HARD.split())]
