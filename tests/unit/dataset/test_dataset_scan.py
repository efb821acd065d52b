"""The scan as a whole: counts, kinds, limits, the fast path against the full rules, and anything at all as input."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotlight.dataset import RowKind, iter_rows, scan
from pilotlight.dataset.plain import PlainRows
from pilotlight.dataset.report import ScanReport
from pilotlight.dataset.rows import RowChecker
from pilotlight.errors import InvalidArgument

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}

texts = st.one_of(
    st.sampled_from(["", " ", ":", '":', '\\":', '" :', "a\\", "x", "\ufffd", "\u2028", "🙂"]), st.text(max_size=8)
)
roles = st.sampled_from(["user", "assistant", "system", "tool", "human", "", None, 3])
messages = st.fixed_dictionaries(
    {"role": roles, "content": st.one_of(texts, st.none(), st.integers())},
    optional={"weight": st.sampled_from([0, 1, 2, True]), "x\\": texts},
)
rows = st.fixed_dictionaries(
    {"messages": st.lists(messages, max_size=4)},
    optional={"weight": st.sampled_from([1.0, "a"]), "ground_truth": st.one_of(texts, st.just({"a": 1})), ":": texts},
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "role",
                    "weight",
                    "tools",
                    "content",
                    "input",
                    "chosen",
                    "preferred_output",
                    "tool_calls",
                    "function",
                    "type",
                    "image_url",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


def lines_of(*items: Any, **options: Any) -> io.BytesIO:
    return io.BytesIO("\n".join(json.dumps(item, **options) for item in items).encode())


@given(
    st.lists(rows, min_size=1, max_size=4), st.booleans(), st.sampled_from([(", ", ": "), (",", ":"), (" , ", " : ")])
)
def test_the_fast_path_agrees_with_the_full_rules(
    items: list[Any], ascii_only: bool, separators: tuple[str, str]
) -> None:
    stream = lines_of(CHAT, *items, ensure_ascii=ascii_only, separators=separators)
    fast = scan(stream)
    full = scan_slowly(stream.getvalue())
    assert fast.findings == full.findings
    assert +fast.counts == +full.counts
    assert (fast.messages, fast.characters, +fast.roles, fast.kind) == (
        full.messages,
        full.characters,
        +full.roles,
        full.kind,
    )


def scan_slowly(data: bytes) -> ScanReport:
    """The rules without the fast path; rows written by json.dumps have no duplicate keys."""
    report = ScanReport()
    checker = RowChecker(report)
    for number, line in enumerate(data.split(b"\n"), 1):
        report.rows += 1
        checker.check(number, json.loads(line))
    checker.finish(0, [])
    if report.rows < 3:
        report.note(report.rows, "too_few_rows", f"it has {report.rows}")
    report.findings.sort(key=lambda finding: finding.line)
    return report


def test_ordinary_rows_take_the_fast_path() -> None:
    report = ScanReport(kind=RowKind.CHAT)
    plain = PlainRows(report)
    odd = {
        "messages": [{"role": "user", "content": 'JSON: {"a": 1}'}, {"role": "assistant", "content": '{"b": ": c"}'}]
    }
    assert [plain.take(1, json.dumps(row).encode(), row) for row in (CHAT, odd)] == [True, True]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.just(json.dumps(CHAT).encode()),
            st.sampled_from([b"{", b"\xef\xbb\xbf", b"[", b"\x00", b"\xff\xfe", b"\r", b'{"a":1,"a":2}']),
        ),
        max_size=8,
    )
)
def test_no_bytes_crash_the_scan(parts: list[bytes]) -> None:
    for separator in (b"\n", b"\r\n", b""):
        report = scan(io.BytesIO(separator.join(parts)))
        assert all(finding.line >= 1 and finding.message for finding in report.findings)
        assert report.errors or report.rows >= 3


@given(st.lists(json_values, min_size=1, max_size=5))
def test_no_json_crashes_the_scan(items: list[Any]) -> None:
    assert scan(lines_of(*items)).describe_errors()


def test_counts_are_of_the_whole_file() -> None:
    report = scan(lines_of(*[CHAT] * 30, *[{"messages": []}] * 30))
    assert (report.rows, report.messages, report.errors) == (60, 60, 30)
    assert (report.roles["user"], report.characters) == (30, 30 * 7)
    assert len(report.findings) == 20
    assert report.describe_errors(5).endswith("... and 25 more.")


def test_weights_and_answers_missing_on_many_rows_are_counted_whole() -> None:
    weighted, prompt = {**CHAT, "weight": 1.0}, {"messages": CHAT["messages"][:1]}
    assert scan(lines_of(weighted, *[CHAT] * 50)).counts["mixed_weights"] == 50
    assert scan(lines_of(CHAT, *[prompt] * 50)).counts["missing_assistant"] == 50


@pytest.mark.parametrize(
    ("name", "rows", "kind"),
    [
        ("gsm8k_sft.jsonl", 600, RowKind.CHAT),
        ("snips_slots_json.jsonl", 1400, RowKind.CHAT),
        ("banking12_train.jsonl", 1516, RowKind.CHAT),
        ("gsm8k_prompts_only.jsonl", 300, RowKind.PROMPT),
        ("gsm8k_preferences.jsonl", 731, RowKind.PREFERENCE),
    ],
)
def test_real_data_is_clean(name: str, rows: int, kind: RowKind) -> None:
    if not (DATA / name).exists():
        pytest.skip("the shared data is not here")
    report = scan(DATA / name)
    assert (report.rows, report.kind, report.findings) == (rows, kind, [])
    assert sum(1 for _ in iter_rows(DATA / name)) == rows


def test_rows_are_read_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + b'{"a": 1}\r\n\r\n{"b": 2}')
    assert list(iter_rows(file)) == [(1, {"a": 1}), (3, {"b": 2})]
    file.write_bytes(b'{"a": 1}\n[]\n')
    with pytest.raises(InvalidArgument, match="on line 2"):
        list(iter_rows(file))


@pytest.mark.slow
def test_more_than_three_million_rows_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "big.jsonl"
    line = json.dumps(CHAT, separators=(",", ":")).encode() + b"\n"
    with file.open("wb") as handle:
        for _ in range(30):
            handle.write(line * 100_000)
    assert scan(file).errors == 0
    with file.open("ab") as handle:
        handle.write(line)
    report = scan(file)
    assert [(finding.code, finding.line) for finding in report.findings] == [("too_many_rows", 3_000_001)]
