"""Frames of a stream that is cut anywhere: whole ones, or nothing."""

import json

import pytest

from cli.frames import Frame, read_frames

TEXT = (
    'id: 1\nevent: status\ndata: {"seq": "1"}\n\n: ping\n\nevent: delta\ndata: {"text": "a: b"}\n\n'
    'id: 2\nevent: x\ndata: {"n": 2}\n\n'
)
WHOLE = [Frame("status", "1", {"seq": "1"}), Frame("delta", "", {"text": "a: b"}), Frame("x", "2", {"n": 2})]


@pytest.mark.parametrize("cut", range(len(TEXT)))
def test_a_stream_cut_anywhere_yields_only_whole_frames(cut: int) -> None:
    lines = TEXT[:cut].split("\n")[:-1] if TEXT[:cut].endswith("\n") else TEXT[:cut].split("\n")
    frames = list(read_frames(lines))
    assert frames == WHOLE[: TEXT[:cut].count("}\n\n")]


def test_what_is_no_json_is_said() -> None:
    with pytest.raises(json.JSONDecodeError):
        list(read_frames(["data: {", ""]))
