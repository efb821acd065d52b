"""Filters: what matches, what is refused, and that nothing else can come out of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotlight.errors import InvalidArgument
from pilotlight.listing import parse_filter

MODEL = {
    "name": "accounts/a/models/m",
    "displayName": 'My "best" model',
    "state": "READY",
    "createTime": "2026-05-18T20:31:12.500000Z",
    "exampleCount": "1000",
    "contextLength": 512,
    "rate": 0.25,
    "public": True,
    "tags": ["red", "blue"],
    "peftDetails": {"baseModel": "accounts/fireworks/models/ember-1m", "r": 16},
    "supportsTools": False,
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "state = READY",
        'state="READY"',
        "state = 'READY'",
        "state != UPLOADING",
        'display_name = "My \\"best\\" model"',
        'displayName = "My*model"',
        "displayName:best",
        "displayName:BEST",
        "tags:red",
        "tags:*",
        "peftDetails:r",
        "peft_details.base_model = accounts/fireworks/models/ember-1m",
        "peftDetails.r >= 16",
        "context_length > 511 AND contextLength < 513",
        "example_count > 999",
        "exampleCount = 1000",
        "exampleCount >= 1e3",
        "rate = 0.250",
        "public = true",
        "public = TRUE",
        "supports_tools = false",
        "supports_serverless = false",
        'missing = ""',
        "create_time > 2026-05-18T20:31:12Z",
        'createTime < "2026-05-18T22:31:13+02:00"',
        'createTime >= "2026-05-18"',
        "NOT state = UPLOADING",
        "-state = UPLOADING",
        "NOT (state = UPLOADING OR state = FAILED)",
        "state = READY public = true",
        "state = READY AND state = UPLOADING OR public = true",
        "(state = UPLOADING AND public = true) OR rate = 0.25",
        "-missing:*",
    ],
)
def test_matches(text: str) -> None:
    assert parse_filter(text)(MODEL)


@pytest.mark.parametrize(
    "text",
    [
        "state = ready",
        "state = UPLOADING",
        'displayName = "My?best*"',
        "tags:green",
        "tags = red",
        "peftDetails:alpha",
        "contextLength > 512",
        "exampleCount < 99",
        "missing > 0",
        "missing:*",
        "public > 0",
        "peftDetails.r.x = 1",
        "supportsTools:*",
        "state = READY AND public = false",
        # OR binds tighter than AND [AIP-160].
        "public = true OR state = READY AND rate = 1",
    ],
)
def test_does_not_match(text: str) -> None:
    assert not parse_filter(text)(MODEL)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("READY", "expected `field = value`"),
        ("state =", "a value is missing"),
        ("state = = READY", "a value is missing"),
        ("= READY", "expected"),
        ("(state = READY", "not closed"),
        ("state = READY)", "unexpected"),
        ("state = READY AND", "expected"),
        ("state = READY OR OR public = true", "expected"),
        ('state = "READY', "unexpected"),
        ("1state = READY", "Invalid field path"),
        ("a..b = 1", "Invalid field path"),
        ("(" * 11 + "state = READY" + ")" * 11, "deeper than 10"),
        ("NOT " * 40 + "state = READY", "deeper than 10"),
        ("state = " + "x" * 2048, "longer than 2048"),
        ("secret = 1", "Unknown field 'secret'"),
        ("_upload.id:a", "Unknown field"),
    ],
)
def test_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason.replace("(", r"\(")) as caught:
        parse_filter(text, set(MODEL))
    assert caught.value.http_code == 400


_PARTS = 'state peft_details.r tags create_time = != < >= : ( ) AND OR NOT - * "READY" 16 1e999 2026-13-99T true'
words = st.sampled_from([*_PARTS.split(), "'", '"', "\\", "2026-05-18T20:31:12Z", "[", "é", "\x00"])


@given(
    st.one_of(
        st.text(max_size=60), st.lists(words, max_size=14).map(" ".join), st.lists(words, max_size=9).map("".join)
    )
)
def test_any_text_filters_or_is_refused(text: str) -> None:
    try:
        matches = parse_filter(text)
    except InvalidArgument:
        return
    assert matches(MODEL) in (True, False)
    assert matches({}) in (True, False)


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.text(max_size=2))
)


@given(values, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":"]), st.text(max_size=6))
def test_any_value_compares(value: object, operator: str, literal: str) -> None:
    quoted = literal.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_filter(f'field {operator} "{quoted}"')({"field": value}) in (True, False)


@given(st.text(max_size=12).filter(lambda text: "*" not in text))
def test_a_quoted_text_equals_itself(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_filter(f'field = "{quoted}"')({"field": text})
