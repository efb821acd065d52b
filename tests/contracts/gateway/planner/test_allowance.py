"""Not one unapproved cent for the planner's own model: the allowance, plans that grant more, and usage that lies."""

from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from gateway import allowance, audit, grants
from gateway.reaper import Reaper
from pilotlight.clock import to_rfc3339
from pilotlight.plan import GrantSpec, Phase, Rule
from pilotlight.scripted_model import Turn

MODEL = "claude-sonnet-5-5"
SESSION = "1779157376-41e1"
WORST = 5443
"""Micro-dollars of one `ask()`: 2,137 tokens at most at $2.50, and 10 at $10 per million."""


def rule_of(response: httpx.Response) -> str:
    return response.json()["error"]["details"][0]["reason"]


def planner_grant(**more: Any) -> GrantSpec:
    content = Rule(max_bytes=10_000)
    rules = {
        "body.model": Rule(one_of=[MODEL]),
        "body.max_tokens": Rule(minimum=1, maximum=50),
        "body.messages": content,
        "body.system": content,
    }
    values: dict[str, Any] = {"id": "think", "max_calls": 10, "max_cost": Decimal("0.10")} | more
    return GrantSpec(
        gate="plan_approval", method="CreatePlannerMessage", rules=rules, phase=Phase.EVALUATE, text="judging", **values
    )


def test_calls_at_once_never_exceed_the_allowance(parts: Any, together: Any) -> None:
    room = 5
    at = parts(
        *(Turn.say("hi", delay_seconds=0.3) for _ in range(room)),
        planner_allowance_usd=Decimal(room * WORST + WORST - 1) / 1_000_000,
    )
    answers = together(16, at.ask)
    assert sorted(answer.status_code for answer in answers) == [200] * room + [429] * (16 - room)
    assert len(at.model.received) == room
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (rule_of(refused), refused.json()["error"]["status"]) == ("spend.exhausted", "RESOURCE_EXHAUSTED")


def test_unknown_outcomes_use_the_allowance_up_to_the_cent(parts: Any, together: Any) -> None:
    room = 4
    at = parts(
        *(Turn.fail(500) for _ in range(room)), planner_allowance_usd=Decimal(room * WORST) / 1_000_000
    )  # fmt: skip
    codes = [answer.status_code for answer in together(12, at.ask)]
    assert (codes.count(500), codes.count(429)) == (room, 12 - room)
    assert at.allowance().spent_usd == at.allowance().limit_usd == at.cost().so_far == at.cost().approved
    assert len(at.model.received) == room


def test_an_allowance_of_zero_is_no_call_at_all(parts: Any, together: Any) -> None:
    at = parts(Turn.say("hi"), planner_allowance_usd=Decimal(0))
    assert {rule_of(answer) for answer in together(8, at.ask)} == {"spend.exhausted"}
    assert at.model.received == []
    assert (at.allowance().limit_usd, at.allowance().open) == (0, False)


def test_the_allowance_bounds_each_call(parts: Any) -> None:
    at = parts(Turn.say("hi"), planner_max_tokens=100, planner_allowance_usd=Decimal(100))
    assert rule_of(at.ask(max_tokens=101)) == "spend.rules"
    assert rule_of(at.ask(text="x" * (2 << 20))) == "spend.rules"
    assert at.model.received == []


def test_the_sessions_limit_holds_for_the_allowance_too(parts: Any) -> None:
    at = parts(Turn.say("hi", input_tokens=2000, output_tokens=10), limit="0.009")
    assert at.allowance().limit_usd == Decimal("0.009")
    assert at.ask().status_code == 200  # costs $0.0041
    assert rule_of(at.ask()) == "spend.exhausted"
    with Session(at.engine) as db, db.begin():
        grants.set_limit(db, SESSION, Decimal("0.0045"))
    assert rule_of(at.ask(text="")) in ("spend.exhausted", "spend.limit")
    assert len(at.model.received) == 1


def test_a_limit_below_the_allowance_that_comes_later_is_kept(parts: Any) -> None:
    at = parts(Turn.say("hi"))
    with Session(at.engine) as db, db.begin():
        grants.set_limit(db, SESSION, Decimal(WORST - 1) / 1_000_000)
    assert rule_of(at.ask()) == "spend.limit"
    assert at.model.received == []


def test_the_first_plan_ends_the_allowance(parts: Any) -> None:
    at = parts(Turn.say("hi", input_tokens=100, output_tokens=1), Turn.say("hi"))
    assert at.ask().status_code == 200
    at.approve(planner_grant(max_cost=Decimal("0.01"), max_calls=1))
    assert not at.allowance().open
    assert at.cost().approved == Decimal("0.01") + Decimal("0.00021")  # what is left of the allowance is gone
    assert at.ask(text="x" * 20_000).status_code == 403
    assert at.ask(max_tokens=51).status_code == 403
    assert at.ask(tools=[{"name": "t", "input_schema": {"type": "object"}}]).status_code == 403
    assert [at.ask().status_code for _ in range(2)] == [200, 429]
    assert len(at.model.received) == 2


def test_a_plan_cannot_name_a_model_that_the_installation_does_not_allow(parts: Any) -> None:
    at = parts(Turn.say("hi"))
    spec = planner_grant()
    spec.rules["body.model"] = Rule(one_of=[MODEL, "claude-opus-5-5"])
    at.approve(spec)
    assert rule_of(at.ask(model="claude-opus-5-5")) == "spend.price"
    assert at.model.received == []


def test_a_plan_without_it_leaves_no_model(parts: Any) -> None:
    at = parts(Turn.say("hi"))
    at.approve()
    assert rule_of(at.ask()) == "spend.no-grant"
    assert at.model.received == []


def test_an_ended_session_asks_no_model(parts: Any) -> None:
    at = parts(Turn.say("hi"))
    with Session(at.engine) as db, db.begin():
        grants.revoke(db, SESSION)
    assert rule_of(at.ask()) == "spend.no-grant"


@pytest.mark.parametrize("streamed", [False, True])
def test_usage_above_what_was_held_is_recorded_and_stops_further_calls(parts: Any, streamed: bool) -> None:
    at = parts(Turn.say("hi", input_tokens=4000, output_tokens=1), Turn.say("hi"))
    assert at.ask(stream=streamed or None).status_code == 200
    assert at.settled()[0][1:3] == (WORST + (14 * 2.5 if streamed else 0), 8010)
    assert at.ask().status_code == 403
    assert len(at.model.received) == 1
    assert at.cost().so_far == at.allowance().spent_usd == Decimal("0.00801")
    assert ("CreatePlannerMessage", "overrun", "spend.overrun") in at.audit()
    assert audit.verify(at.engine).intact


@pytest.mark.parametrize("usage", [{"input_tokens": -5, "output_tokens": 1}, {"input_tokens": 1, "output_tokens": -1}])
def test_usage_that_is_no_usage_counts_as_unknown(parts: Any, usage: dict[str, int]) -> None:
    at = parts(Turn.say("hi", **usage))
    assert at.ask().status_code == 200
    assert at.reservations()[0][2] == WORST


def test_a_price_holds_as_far_as_the_book_says(parts: Any) -> None:
    haiku = "claude-haiku-5-5"
    at = parts(Turn.say("hi"), Turn.say("hi"), planner_model=haiku)
    assert at.ask(model=haiku, text="x" * 90_000).status_code == 200
    assert rule_of(at.ask(model=haiku, text="x" * 110_000)) == "spend.price"
    assert len(at.model.received) == 1


def test_letters_that_grow_when_normalised_are_counted_grown(parts: Any) -> None:
    at = parts(Turn.say("hi"))
    at.ask(text="\ufdfa" * 100)  # three bytes each, and eighteen letters of 33 bytes once normalised
    assert at.reservations()[0][1] > WORST + 100 * 30 * 2.5


def test_a_call_that_died_with_its_gateway_costs_what_was_held(parts: Any) -> None:
    import asyncio

    at = parts(Turn.say("hi"))
    at.ask()
    long_ago = to_rfc3339(grants.now().replace(year=2020))
    with at.engine.begin() as db:  # as a kill between sending and settling leaves it
        db.execute(text("UPDATE gateway_reservations SET state = 'active', create_time = :time"), {"time": long_ago})
        db.execute(text("UPDATE gateway_grants SET reserved_micros = :held, settled_micros = 0"), {"held": WORST})
    asyncio.run(Reaper(at.gateway).step())
    assert at.reservations()[0][:3] == ("settled", WORST, WORST)
    assert at.allowance().spent_usd == Decimal(WORST) / 1_000_000
    assert at.platform == []


def test_it_is_written_once_and_audited(parts: Any) -> None:
    at = parts()
    assert at.audit() == [("", "approved", "grants")]
    assert at.cost().approved == at.allowance().limit_usd == Decimal("0.25")
    with pytest.raises(IntegrityError), Session(at.engine) as db, db.begin():
        allowance.write_allowance(db, SESSION, at.settings)
