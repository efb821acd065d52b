"""Text out of tokens: byte-level and other tokenizers, and stop strings, whatever the chunks."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from local_platform.serving.stopping import StopWatch
from local_platform.serving.vocabulary import TextStream, Vocabulary


@pytest.fixture(scope="module")
def byte_level(tiny_checkpoint: Path) -> Vocabulary:
    return Vocabulary(tiny_checkpoint)


@pytest.fixture(scope="module")
def metaspace(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    """A tokenizer in the style of SentencePiece with byte fallback, as Llama 2 and Mistral have."""
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=90, special_tokens=["<unk>", "</s>"], show_progress=False)
    learner.train_from_iterator(["hello world of tiny words, one by one"] * 20, trainer)
    model = json.loads(learner.to_str())["model"]
    size = len(model["vocab"])
    vocabulary = model["vocab"] | {f"<0x{byte:02X}>": size + byte for byte in range(256)}
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    directory = tmp_path_factory.mktemp("metaspace")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(directory)
    (directory / "config.json").write_text('{"model_type": "llama"}')
    return Vocabulary(directory)


def stream(vocabulary: Vocabulary, ids: list[int]) -> str:
    text = TextStream(vocabulary)
    return "".join(text.push(token) for token in ids) + text.flush()


@given(ids=st.lists(st.integers(0, 305), max_size=40))
def test_byte_level_stream_equals_decode(byte_level: Vocabulary, ids: list[int]) -> None:
    assert byte_level.byte_level
    assert stream(byte_level, ids) == byte_level.decode(ids)


@given(text=st.text(max_size=40))
def test_byte_level_round_trip_never_shows_half_a_character(byte_level: Vocabulary, text: str) -> None:
    ids = byte_level.encode(text)
    pieces = TextStream(byte_level)
    shown = [pieces.push(token) for token in ids]
    assert "".join(shown) == byte_level.decode(ids)
    assert "\ufffd" not in "".join(shown) or "\ufffd" in text
    assert b"".join(byte_level.token_bytes(token) for token in ids).decode() == "".join(shown)


@pytest.mark.parametrize("text", ["hello world", "one ünïcode 日本 🙂 word", "tiny", "  two  spaces "])
def test_other_tokenizers_stream_equals_decode(metaspace: Vocabulary, text: str) -> None:
    assert not metaspace.byte_level
    ids = metaspace.encode(text)
    assert stream(metaspace, ids) == metaspace.decode(ids)


def _cut_at_the_first_stop(text: str, stops: list[str], places: list[int]) -> str:
    """Generation ends as soon as what has arrived holds a stop, although a longer one would begin before it."""
    for place in places:
        arrived = text[:place]
        if hits := [arrived.index(stop) for stop in stops if stop in arrived]:
            return arrived[: min(hits)]
    return text


@given(
    text=st.text("ab ", max_size=30),
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=4),
    cuts=st.lists(st.integers(0, 30), max_size=6),
)
def test_stop_watch_equals_searching_the_whole_text(text: str, stops: list[str], cuts: list[int]) -> None:
    watch = StopWatch(tuple(stops))
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    shown = ""
    for start, end in pairwise(places):
        shown += watch.feed(text[start:end])
        assert watch.stopped or not any(stop in shown for stop in stops)
    shown += watch.feed("", final=True)
    assert shown == _cut_at_the_first_stop(text, stops, places)
    assert watch.stopped == any(stop in text for stop in stops)
