"""Usage read out of a passing stream, however it is cut; and the key taken out of one."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scrubbing import Scrubber
from gateway.tokens import Usage, cost_micros, most_input
from gateway.usage_stream import StreamReader, WholeReader
from pilotlight.pricebook import load_planner_prices
from pilotlight.scripted_model import Turn, messages

CACHE = {"cache_read_input_tokens": 3, "cache_creation_input_tokens": 2}
TURN = Turn.say("one two three", input_tokens=50, output_tokens=7, **CACHE)
BODY = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
STREAM = b"".join(messages.events(TURN, BODY, 1))
USED = Usage(50, 7, 2, 3)
SECRET = "aabaac"


def cut(content: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(content) + 1) for place in places), len(content)]
    return [content[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
def test_a_stream_is_read_however_it_is_cut(places: list[int], windows: bool) -> None:
    reader = StreamReader()
    for block in cut(STREAM.replace(b"\n", b"\r\n") if windows else STREAM, places):
        reader.feed(block)
    assert reader.usage() == USED


@given(st.integers(0, len(STREAM) - 3))
def test_a_stream_that_did_not_end_says_nothing(length: int) -> None:
    reader = StreamReader()
    reader.feed(STREAM[:length])
    assert reader.usage() is None


@pytest.mark.parametrize("event", ["[1]", "3", "null", "{", '{"usage": 3}', '{"type": "message_start", "message": 7}'])
def test_odd_events_break_nothing(event: str) -> None:
    reader = StreamReader()
    reader.feed(f"data: {event}\n".encode() + STREAM)
    assert reader.usage() == USED


def test_a_document_is_read_whole_or_not_at_all() -> None:
    document = json.dumps({"usage": {"input_tokens": 1, "output_tokens": 2}}).encode()
    reader = WholeReader()
    reader.feed(document[:-1])
    assert reader.usage() is None
    reader.feed(document[-1:])
    assert reader.usage() == Usage(1, 2)


@given(
    st.lists(st.sampled_from([SECRET, "aab", "a", "c", "x"]), max_size=30), st.lists(st.integers(0, 999), max_size=9)
)
def test_the_secret_is_taken_out_however_it_is_cut(words: list[str], places: list[int]) -> None:
    content = "".join(words).encode()
    scrubber = Scrubber(SECRET)
    passed = b"".join(scrubber.pass_on(block) for block in cut(content, places)) + scrubber.rest()
    assert passed == content.replace(SECRET.encode(), b"[key]")


def test_without_a_secret_nothing_is_held_back() -> None:
    assert Scrubber("").pass_on(b"all of it") == b"all of it"


@given(st.text())
def test_the_bound_is_above_every_byte_of_the_text(text: str) -> None:
    assert most_input({"messages": [{"role": "user", "content": text}]}) >= len(text.encode()) + 2048


def test_cache_and_output_have_their_own_price() -> None:
    price = load_planner_prices().models["claude-sonnet-5-5"]
    assert price is not None
    assert cost_micros(Usage(1, 1, 1, 1), price) == 15  # 2 + 10 + 2.50 + 0.10, rounded up
