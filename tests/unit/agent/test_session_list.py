"""Lists of sessions: whatever the database does of a filter and an order is what memory would have done."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlmodel import select

from agent.session_list import LIST_FIELDS, list_sessions
from agent.session_query import split_filter
from agent.store import reading, writing
from agent.tables import QuestionRow, SessionRow
from agent.views import summarize_session
from pilotlight.listing import ListParams, list_page, parse_filter
from pilotlight.question import Question, QuestionKind
from tests.unit.agent.conftest import make_engine

TEXTS = [
    "",
    "Run SFT",
    "12",
    "1e1",
    "012",
    "2026-05-18",
    "false",
    "null",
    "ä",
    "Z",
    "a*b",
    'x"y',
    "\U0001f600",
    "\uffee",
]
TIMES = ["2026-05-18T20:31:12.500000Z", "2026-05-18T00:00:00.000000Z", "2025-01-01T00:00:00.000001Z"]
STATUSES = ["pending", "running", "waiting", "succeeded", "failed", "cancelled"]


def make_row(number: int) -> SessionRow:
    text = TEXTS[number % len(TEXTS)]
    return SessionRow(
        id=f"{1779157376 + number % 7}-{number:04x}", slot=number, account="acme" if number % 9 else "other",
        created_by=TEXTS[number % 5] or "ann@acme", created_user="ann", instruction=text, status=STATUSES[number % 6],
        narrative=f"at {text}", phase=[None, "sweep", "plan"][number % 3], create_time=TIMES[number % 3],
        update_time=TIMES[number % 2], turn=number % 4, question_id="q1" if number % 6 == 2 else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    engine = make_engine(tmp_path_factory.mktemp("list"))
    with writing(engine) as db:
        rows = [make_row(number) for number in range(80)]
        db.add_all(rows)
        db.flush()
        for row in rows:
            if row.question_id:
                question = Question(question_id="q1", kind=QuestionKind.MISSING_INPUT, text=f"Which? {row.instruction}")
                document = question.model_dump_json(by_alias=True)
                db.add(QuestionRow(session_id=row.id, question_id="q1", kind="", digest="", document=document, time=""))
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def everything(engine: Any) -> list[dict[str, Any]]:
    with reading(engine) as db:
        rows = db.exec(select(SessionRow).where(SessionRow.account == "acme")).all()
        return [summarize_session(db, row).model_dump(mode="json", by_alias=True) for row in rows]


def walk(engine: Any, params: ListParams) -> tuple[list[str], set[int]]:
    names, totals = list[str](), set[int]()
    while True:
        page = list_sessions(engine, "acme", params)
        names += [item["name"] for item in page["sessions"]]
        totals.add(page["totalSize"])
        if not page["nextPageToken"]:
            return names, totals
        params = params._replace(page_token=page["nextPageToken"])


NUMBERS = ["2", "2.0", "2.5", "-1", "1e400", "9" * 30]
NAMES = ["accounts/acme/sessions/1779157377-0001", "1779157377-0001", "ann@acme", "sweep", "*", "Run*"]
VALUES = [*TEXTS, *TIMES, *STATUSES, *NUMBERS, *NAMES, "2026-05-18T22:31:12.5+02:00"]


def write_restriction(field: str, operator: str, value: str) -> str:
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{field} {operator} "{text}"'


restrictions = st.builds(
    write_restriction,
    st.sampled_from([*sorted(LIST_FIELDS), "status.x", "create_time"]),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":"]),
    st.sampled_from(VALUES),
)
filters = st.one_of(
    st.just(""),
    st.recursive(
        restrictions,
        lambda inner: st.one_of(
            inner.map(lambda part: f"NOT ({part})"),
            st.tuples(inner, inner).map(lambda parts: f"({parts[0]}) AND ({parts[1]})"),
            st.tuples(inner, inner).map(lambda parts: f"({parts[0]}) OR ({parts[1]})"),
        ),
        max_leaves=4,
    ),
)
orders = st.one_of(
    st.just(""),
    st.lists(
        st.tuples(st.sampled_from(sorted(LIST_FIELDS)), st.sampled_from(["", " desc", " asc"])).map("".join),
        min_size=1, max_size=3,
    ).map(", ".join),
)  # fmt: skip


@settings(max_examples=60)
@given(text=filters, order=orders, size=st.sampled_from([9, 40, 200]))
def test_pages_are_what_memory_would_have_made(
    engine: Any, everything: list[dict[str, Any]], text: str, order: str, size: int
) -> None:
    params = ListParams(page_size=size, filter=text, order_by=order)
    wanted = list_page(everything, params._replace(page_size=1000), "sessions", LIST_FIELDS)
    names, totals = walk(engine, params)
    assert names == [item["name"] for item in wanted["sessions"]]
    assert totals == {wanted["totalSize"]}


def test_a_page_reads_only_its_own_rows(engine: Any) -> None:
    read: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        read.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    page = list_sessions(engine, "acme", ListParams(page_size=5, filter='status = "waiting" AND turn >= 0'))
    event.remove(engine, "before_cursor_execute", note)
    assert len(page["sessions"]) == 5
    selects = [statement for statement in read if statement.startswith("SELECT")]
    assert len(selects) == 3  # the page, its questions, how many there are
    assert "LIMIT" in selects[0]


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("status = waiting", True),
        ("status = waiting OR phase = sweep", True),
        ('createTime > "2026-01-01T00:00:00+01:00" AND NOT status = failed', True),
        ("turn > 1", True),
        ("instruction : sft", False),
        ("instruction = 12", False),
        ("status = wait*", False),
        ("statusInfo = x", False),
        ("NOT (status = failed AND instruction : x)", False),
    ],
)
def test_what_is_not_the_same_in_a_database_is_left_to_memory(text: str, exact: bool) -> None:
    assert split_filter(parse_filter(text, LIST_FIELDS))[1] is exact
