"""A ceiling that a person sets in advance: what it approves, what bounds it, who may set it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from pilotlight.clock import now
from pilotlight.errors import InvalidArgument, PermissionDenied
from pilotlight.identity.principal import Role
from pilotlight.question import QuestionKind
from tests.fixtures.desk import Desk, approve, grant, person

LATER = datetime(2100, 1, 1, tzinfo=UTC)


def ceiling(usd: str = "10", **more: Any) -> dict[str, Any]:
    return {"autoApprove": {"maxUsd": usd, "expireTime": LATER.isoformat(), **more}}


def test_below_its_ceiling_a_plan_is_approved_by_record(desk: Desk) -> None:
    session = desk.create(person("ann"), **ceiling("2"))
    assert desk.ask(desk.turn(session), desk.plan(session))
    view = desk.get(session)
    by = "autoApprove, set by ann@acme"
    assert view["autoApprove"]["setBy"] == "ann@acme"
    assert view["autoApprove"]["kinds"] == ["plan_approval"]
    assert view["plan"]["approvedBy"] == desk.grants(session)[0].approver == by
    verdicts = [(row.principal, row.verdict, row.rule) for row in desk.audit(session)]
    assert verdicts == [("ann@acme", "set", "spend.auto-approve"), (by, "approved", "grants")]


def test_by_default_a_ceiling_covers_the_plan_only(desk: Desk) -> None:
    both = ceiling()
    both["autoApprove"]["kinds"] = ["plan_approval", "promotion"]
    for body, covered in ((ceiling(), False), (both, True)):
        session = desk.create(**body)
        assert desk.ask(desk.turn(session), desk.plan(session))
        assert desk.ask(desk.turn(session), None, QuestionKind.PROMOTION, 2) is covered


def test_the_ceiling_bounds_the_whole_session(desk: Desk) -> None:
    """What a person approved before counts too, and so does what is granted and not used yet."""
    session = desk.create(**ceiling("2.50", kinds=["plan_approval", "promotion"]))
    assert not desk.ask(desk.turn(session), desk.plan(session, grant("a", "2.00"), grant("b", "0.60", "promotion")))
    desk.update(session, person("bob"), **approve())
    assert not desk.ask(desk.turn(session), None, QuestionKind.PROMOTION, 2)
    assert [row.spec for row in desk.grants(session)] == ["a"]


def test_what_the_shown_plan_may_cost_counts_not_its_first_step(desk: Desk) -> None:
    session = desk.create(**ceiling("1.99"))
    assert not desk.ask(desk.turn(session), desk.plan(session))  # $1 now, $1 at the promotion


def test_an_expired_ceiling_waits_for_a_person(desk: Desk) -> None:
    soon = now() + timedelta(milliseconds=50)
    session = desk.create(autoApprove={"maxUsd": "10", "expireTime": soon.isoformat()})
    while now() < soon:
        pass
    assert not desk.ask(desk.turn(session), desk.plan(session))
    assert desk.get(session)["status"] == "waiting"


@pytest.mark.parametrize(
    "caller",
    [
        person("bot", service_account=True),
        person("bot", preset="pilot", service_account=True),
        person("bot", preset="pilot"),
        person("ivy", Role.INFERENCE_USER),
    ],
)
def test_no_program_sets_a_ceiling(desk: Desk, caller: Any) -> None:
    with pytest.raises(PermissionDenied):
        desk.create(caller, **ceiling())


def test_with_distinct_principals_nobody_sets_a_ceiling_for_itself(strict_desk: Desk) -> None:
    with pytest.raises(PermissionDenied, match="your own approval"):
        strict_desk.create(**ceiling())


def test_a_ceiling_of_before_ends_when_the_setting_is_turned_on(desk: Desk) -> None:
    session = desk.create(**ceiling())
    settings = desk.settings.model_copy(update={"approvals_distinct_principal": True})
    assert not replace(desk, settings=settings).ask(desk.turn(session), desk.plan(session))
    assert desk.grants(session) == []


@pytest.mark.parametrize(
    "more", [{"maxUsd": "-1"}, {"kinds": []}, {"kinds": ["comparison"]}, {"setBy": "bob"}, {"expireTime": None}]
)
def test_malformed_ceilings_are_refused(desk: Desk, more: dict[str, Any]) -> None:
    body = ceiling()
    body["autoApprove"] |= more
    with pytest.raises(ValidationError):
        desk.create(**body)
    with pytest.raises(InvalidArgument, match="past"):
        desk.create(autoApprove={"maxUsd": "1", "expireTime": "2020-01-01T00:00:00Z"})


def test_a_session_keeps_to_the_limit_of_its_key(desk: Desk) -> None:
    for asked, own, expected in ((None, "1.50", "1.500000"), ("1", "1.50", "1.000000"), ("9", None, "9.000000")):
        micros = None if own is None else int(Decimal(own) * 1_000_000)
        caller = person(session_limit_micros=micros)
        session = desk.create(caller, **({"spendLimitUsd": asked} if asked else {}))
        assert desk.get(session)["spendLimitUsd"] == expected
        assert desk.get(session)["createdKey"] == "key_ann"
