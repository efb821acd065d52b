"""Turns and their recovery, on a real database."""

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from agent import journal
from agent.estimates import ratio_of
from agent.questions import ask_question
from agent.states import Status
from agent.store import load_session, reading, writing
from agent.tables import EstimateRow, SessionRow, TurnRow
from agent.turns import Ending, Turn, begin_turn, end_turn, take_back
from pilotlight.errors import Aborted
from pilotlight.identity import bootstrap
from pilotlight.question import Question, QuestionKind
from pilotlight.settings import Settings
from tests.fixtures import desk

TIME = "2026-01-01T00:00:00.000000Z"
QUESTION = Question(question_id="q", kind=QuestionKind.MISSING_INPUT, text="Which?")
FINE = Ending(0, "")


@pytest.fixture
def pending(engine: Engine) -> str:
    bootstrap(engine, "acct")
    with writing(engine) as db:
        db.add(
            SessionRow(
                id="s",
                slot=1,
                account="acct",
                created_by="admin@acct",
                created_user="admin",
                instruction="x",
                scope="optimize",
                status=Status.PENDING.value,
                create_time=TIME,
                update_time=TIME,
                turn=1,
            )
        )
    return "s"


def begin(engine: Engine) -> Turn:
    return desk.begin(engine, "s")


def attempt(engine: Engine, session: str) -> Turn | None:
    with writing(engine) as db:
        return begin_turn(db, session, desk.HOLDER, 20.0)


def lose(engine: Engine, turn: Turn) -> None:
    """What the recovery does when the turn's worker has ended."""
    assert take_back(engine, (turn.session, turn.epoch), "lost", certain=True)


def status(engine: Engine) -> str:
    with reading(engine) as db:
        return load_session(db, "s").status


def say(engine: Engine, turn: Turn, outcome: str) -> None:
    with writing(engine) as db:
        record = db.get_one(TurnRow, ("s", turn.epoch))
        record.outcome, record.message = outcome, "done"
        db.add(record)


def test_a_turn_begins_once_and_raises_the_epoch(engine: Engine, pending: str) -> None:
    turn = begin(engine)
    assert (turn.turn, turn.epoch, turn.role) == (1, 1, "admin")
    assert attempt(engine, pending) is None
    assert attempt(engine, "nobody") is None


@pytest.mark.parametrize(
    ("outcome", "expected"), [("succeeded", "succeeded"), ("failed", "failed"), ("cancelled", "cancelled")]
)
def test_the_outcome_becomes_the_status_when_the_process_has_ended(
    engine: Engine, pending: str, outcome: str, expected: str
) -> None:
    turn = begin(engine)
    say(engine, turn, outcome)
    assert status(engine) == "running"
    assert end_turn(engine, turn, FINE) is False
    assert status(engine) == expected
    assert end_turn(engine, turn, FINE) is False


@pytest.mark.parametrize(
    ("exit_code", "complaint", "expected"),
    [
        (-9, "", "pending"),
        (-9, "memory limit exceeded", "pending"),
        (137, "", "pending"),
        (None, "", "pending"),
        (1, "", "pending"),
        (0, " \n", "pending"),
        (1, "NotFound: no such dataset", "failed"),
        (0, "INFO ended early", "failed"),
        (128, "git-like", "failed"),
    ],
)
def test_only_a_runner_that_says_why_it_ended_fails_its_session(
    engine: Engine, pending: str, exit_code: int | None, complaint: str, expected: str
) -> None:
    turn = begin(engine)
    assert end_turn(engine, turn, Ending(exit_code, complaint)) is (expected == "pending")
    assert status(engine) == expected


def test_a_runner_that_is_killed_three_times_at_one_place_fails_its_session(engine: Engine, pending: str) -> None:
    for expected in (True, True):
        assert end_turn(engine, begin(engine), Ending(-9, "")) is expected
    lose(engine, begin(engine))  # its worker ended: that says nothing about the runner
    turn = begin(engine)
    with writing(engine) as db:
        journal.append(db, "s", "job", {"step": 1}, epoch=turn.epoch)
    assert end_turn(engine, turn, Ending(-9, "")) is True, "it got somewhere: this is the first death after it"
    assert end_turn(engine, begin(engine), Ending(-9, "")) is True
    assert end_turn(engine, begin(engine), Ending(-9, "out of memory")) is False
    assert status(engine) == "failed"


def test_after_a_restart_an_unfinished_turn_runs_again_under_a_new_epoch(engine: Engine, pending: str) -> None:
    zombie = begin(engine)
    lose(engine, zombie)
    assert status(engine) == "pending"
    successor = begin(engine)
    assert (successor.turn, successor.epoch) == (1, 3)
    with pytest.raises(Aborted, match="lease"), writing(engine) as db:
        ask_question(db, load_session(db, "s"), QUESTION, zombie.epoch, Settings())
    say(engine, zombie, "failed")
    assert end_turn(engine, zombie, Ending(1, "late")) is False
    assert status(engine) == "running"


def test_after_a_restart_a_turn_that_had_asked_waits_and_one_that_had_finished_ends(
    engine: Engine, pending: str
) -> None:
    turn = begin(engine)
    with writing(engine) as db:
        ask_question(db, load_session(db, "s"), QUESTION, turn.epoch, Settings())
    assert status(engine) == "running"
    lose(engine, turn)
    assert status(engine) == "waiting"
    with writing(engine) as db:
        row = load_session(db, "s")
        row.status, row.question_id = Status.PENDING.value, None
        db.add(row)
    turn = begin(engine)
    say(engine, turn, "succeeded")
    lose(engine, turn)
    assert status(engine) == "succeeded"


def test_a_question_that_nobody_saw_is_asked_anew_when_its_worker_was_lost_with_its_files(
    engine: Engine, pending: str
) -> None:
    turn = begin(engine)
    with writing(engine) as db:
        ask_question(db, load_session(db, "s"), QUESTION.model_copy(), turn.epoch, Settings())
    assert take_back(engine, ("s", turn.epoch), "silent", certain=False)
    assert status(engine) == "pending"
    heir = begin(engine)
    other = QUESTION.model_copy(update={"text": "Which one, then?"})
    with writing(engine) as db:
        ask_question(db, load_session(db, "s"), other, heir.epoch, Settings())
    end_turn(engine, heir, FINE)
    assert status(engine) == "waiting"


def test_a_question_id_stands_for_one_content(engine: Engine, pending: str) -> None:
    turn = begin(engine)
    for _ in range(2):
        with writing(engine) as db:
            ask_question(db, load_session(db, "s"), QUESTION.model_copy(), turn.epoch, Settings())
    other = QUESTION.model_copy(update={"text": "Something else?"})
    with pytest.raises(Aborted, match="another content"), writing(engine) as db:
        ask_question(db, load_session(db, "s"), other, turn.epoch, Settings())


def test_a_session_whose_creator_is_gone_fails(engine: Engine, pending: str) -> None:
    with writing(engine) as db:
        _rename_creator(db)
    assert attempt(engine, pending) is None
    assert status(engine) == "failed"


def _rename_creator(db: Session) -> None:
    row = load_session(db, "s")
    row.created_user = "nobody"
    db.add(row)


def estimate(run: str, phase: str, expected: int, actual: int, outcome: str = "succeeded") -> EstimateRow:
    return EstimateRow(
        session_id=run,
        plan_hash="h",
        phase=phase,
        account="acct",
        workflow="sft",
        base_model="m",
        outcome=outcome,
        low_micros=0,
        expected_micros=expected,
        high_micros=0,
        actual_micros=actual,
        settled=True,
        time=TIME,
    )


def test_the_ratio_is_that_of_successful_runs_without_their_deployment() -> None:
    runs = [
        estimate(f"s{index}", phase, 100, actual)
        for index, total in enumerate((80, 100, 150))
        for phase, actual in (("sweep", total), ("train", total), ("deploy", 9999), ("total", 9999))
    ]
    open_row = estimate("o", "sweep", 100, 1)
    open_row.settled = False
    ratio = ratio_of([*runs, estimate("f", "sweep", 100, 1, "failed"), open_row])
    assert ratio.runs == 3
    assert ratio.low == pytest.approx(0.84)
    assert ratio.high == pytest.approx(1.40)
    assert ratio_of([]).low is None
    wild = ratio_of([estimate("w", "train", 1, 900)])
    assert (wild.low, wild.high) == (5.0, 5.0)
