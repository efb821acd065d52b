"""With approvals.distinct_principal another person approves than the one who drives."""

from typing import Any

import pytest

from pilotlight.errors import PermissionDenied
from pilotlight.identity.principal import Role
from pilotlight.question import QuestionKind
from tests.fixtures.desk import Desk, approve, person

STRICT = [
    (person("ann"), False),
    (person("ann", key_id="another key of ann"), False),
    (person("ann", Role.ADMIN), False),
    (person("bot", preset="pilot", service_account=True), False),
    (person("cid", Role.CONTRIBUTOR), False),
    (person("ivy", Role.INFERENCE_USER), False),
    (person("bob"), True),
    (person("root", Role.ADMIN), True),
]


@pytest.mark.parametrize("by_words", [True, False], ids=["words", "structured"])
@pytest.mark.parametrize(("caller", "allowed"), STRICT, ids=lambda value: getattr(value, "user", ""))
def test_with_distinct_principals_another_person_approves(
    strict_desk: Desk, caller: Any, allowed: bool, by_words: bool
) -> None:
    session = strict_desk.waiting(person("ann"))
    body = {"instruction": "Approved, proceed."} if by_words else approve()
    if allowed:
        strict_desk.update(session, caller, **body)
    else:
        with pytest.raises(PermissionDenied) as refusal:
            strict_desk.update(session, caller, **body)
        assert refusal.value.hint
    assert len(strict_desk.grants(session)) == int(allowed)


def test_with_distinct_principals_the_driver_still_answers_revises_and_rejects(strict_desk: Desk) -> None:
    session = strict_desk.create()
    strict_desk.ask(strict_desk.turn(session), None, QuestionKind.MISSING_INPUT)
    strict_desk.update(session, instruction="ember-500k")
    strict_desk.ask(strict_desk.turn(session), strict_desk.plan(session), number=2)
    strict_desk.update(session, instruction="Use rank 16 instead")
    strict_desk.ask(strict_desk.turn(session), strict_desk.plan(session, note="16"), number=3)
    bot = person("bot", preset="pilot", service_account=True)
    assert strict_desk.update(session, bot, instruction="Reject.")["status"] == "cancelled"


def test_with_distinct_principals_a_promotion_needs_the_other_person_too(strict_desk: Desk) -> None:
    session = strict_desk.waiting()
    strict_desk.update(session, person("bob"), **approve())
    strict_desk.ask(strict_desk.turn(session), None, QuestionKind.PROMOTION, number=2)
    with pytest.raises(PermissionDenied):
        strict_desk.update(session, instruction="Proceed with the winning config.")
    strict_desk.update(session, person("bob"), instruction="Proceed with the winning config.")
    assert [row.spec for row in strict_desk.grants(session)] == ["sweep", "train"]
