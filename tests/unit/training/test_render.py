"""Loss falls on assistant tokens and their end of turn, and on nothing else [P26-P31, P52]."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from local_platform.training.render import Renderer
from pilotlight.errors import InvalidArgument
from tests.fixtures.training import CHATML, UNMARKED, byte_tokenizer, chat

TOKENIZER = byte_tokenizer()
STRIPPING = (  # as Qwen3's own: old reasoning is dropped, and the last turn always has a think block
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.role == 'assistant' and loop.last %}"
    "{{- '<think>' + (message.reasoning_content or '') + '</think>' }}{% endif %}"
    "{{- message.content + '<|im_end|>\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def decode(ids: list[int]) -> str:
    return str(TOKENIZER.decode(ids))


def trained_texts(row: dict[str, Any], template: str = CHATML, limit: int = 10_000) -> list[list[str]]:
    """For each example of a row, the decoded trained spans."""
    examples = Renderer(TOKENIZER, template, limit).examples(row, 0, 1)
    return [[decode(e.ids[a:b]) for a, b in e.trained] for e in examples]


def texts(row: dict[str, Any], template: str = CHATML) -> list[str]:
    return [decode(e.ids) for e in Renderer(TOKENIZER, template, 10_000).examples(row, 0, 1)]


MULTI: dict[str, list[dict[str, Any]]] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "2"},
    ]
}


@pytest.mark.parametrize("template", [CHATML, UNMARKED])
def test_only_assistant_turns_with_their_end_carry_loss(template: str) -> None:
    assert trained_texts(MULTI, template) == [["1<|im_end|>", "2<|im_end|>"]]


def test_the_whole_text_is_the_templates() -> None:
    expected = TOKENIZER.apply_chat_template(MULTI["messages"], tokenize=False)
    assert texts(MULTI) == [expected]


@pytest.mark.parametrize("template", [CHATML, UNMARKED])
@pytest.mark.parametrize(("first", "second", "expected"), [(0, 1, ["2<|im_end|>"]), (1, 0, ["1<|im_end|>"])])
def test_a_message_of_weight_0_carries_none(template: str, first: int, second: int, expected: list[str]) -> None:
    messages = [dict(message) for message in MULTI["messages"]]
    messages[2]["weight"], messages[4]["weight"] = first, second
    assert trained_texts({"messages": messages}, template) == [expected]


def test_all_weights_0_train_on_nothing() -> None:
    messages = [{**message, "weight": 0} for message in MULTI["messages"]]
    assert trained_texts({"messages": messages}) == []


def test_content_parts_are_concatenated() -> None:
    parts = [{"type": "text", "text": "to"}, {"type": "text", "text": "gether"}]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": parts}]}
    assert trained_texts(row) == [["together<|im_end|>"]]


def test_images_are_refused() -> None:
    row = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}
    with pytest.raises(InvalidArgument, match="image_url"):
        trained_texts(row)


def test_tool_calls_are_trained_and_tools_shown() -> None:
    call = {"type": "function", "id": "c1", "function": {"name": "add", "arguments": '{"a": 1}'}}
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    row = {"messages": [{"role": "user", "content": "1?"}, {"role": "assistant", "tool_calls": [call]}], "tools": tools}
    assert trained_texts(row) == [['<tool>{"name": "add", "arguments": {"a": 1}}</tool><|im_end|>']]
    assert texts(row)[0].startswith('<|im_start|>system\n[{"type": "function"')


@pytest.mark.parametrize("template", [CHATML, UNMARKED])
def test_reasoning_unrolls_into_one_example_per_turn(template: str) -> None:
    messages = [dict(message) for message in MULTI["messages"]]
    messages[2]["reasoning_content"], messages[4]["reasoning_content"] = "count", "count more"
    row = {"messages": messages}
    assert trained_texts(row, template) == [
        ["<think>count</think>1<|im_end|>"],
        ["<think>count more</think>2<|im_end|>"],
    ]
    assert "<think>count</think>" not in texts(row, template)[1]


def test_unrolling_skips_turns_of_weight_0() -> None:
    messages = [dict(message) for message in MULTI["messages"]]
    messages[2] |= {"reasoning_content": "count", "weight": 0}
    messages[4]["reasoning_content"] = "count more"
    assert trained_texts({"messages": messages}) == [["<think>count more</think>2<|im_end|>"]]


def test_a_template_that_rewrites_history_is_unrolled() -> None:
    assert trained_texts(MULTI, STRIPPING) == [["<think></think>1<|im_end|>"], ["<think></think>2<|im_end|>"]]
    assert texts(MULTI, STRIPPING)[1].count("<think>") == 1


def test_a_template_without_a_matching_generation_prompt_is_refused() -> None:
    template = UNMARKED.replace("assistant\n' }}{% endif %}", "bot\n' }}{% endif %}")
    with pytest.raises(InvalidArgument, match="generation prompt"):
        trained_texts(MULTI, template)


@pytest.mark.parametrize("limit", [1, 12, 20, 40])
def test_long_rows_are_cut(limit: int) -> None:
    whole = Renderer(TOKENIZER, CHATML, 10_000).examples(MULTI, 0, 1)[0]
    cut = Renderer(TOKENIZER, CHATML, limit).examples(MULTI, 0, 1)[0]
    assert cut.ids == whole.ids[:limit]
    assert {i for a, b in cut.trained for i in range(a, b)} == {
        i for a, b in whole.trained for i in range(a, b) if i < limit
    }


@pytest.mark.parametrize("row", [{}, {"messages": "hello"}, {"messages": []}, {"messages": [{"content": "x"}]}])
def test_rows_that_are_no_conversation_are_refused(row: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="message"):
        trained_texts(row)


def merging_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that joins the space before a word to it, as real ones do."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["answer: yes answer: no yes no"] * 50, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")


def test_a_token_across_the_border_is_split_so_that_the_prompt_stays_what_serving_sees() -> None:
    tokenizer = merging_tokenizer()
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ 'answer: ' + m.content + '<|im_end|>' }}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'answer: ' }}{% endif %}"
    )
    (example,) = Renderer(tokenizer, template, 100).examples(chat("q ", "yes"), 0, 1)
    prompt = tokenizer("q answer: ", add_special_tokens=False)["input_ids"]
    whole = tokenizer("q answer: yes<|im_end|>", add_special_tokens=False)["input_ids"]
    assert whole[: len(prompt)] != prompt, "the case must be real"
    ((start, end),) = example.trained
    assert example.ids[:start] == prompt
    assert tokenizer.decode(example.ids[start:end]) == "yes<|im_end|>"


@given(
    turns=st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.sampled_from([0, 1])), min_size=1, max_size=4)
)
def test_markers_and_differences_agree(turns: list[tuple[str, str, int]]) -> None:
    messages: list[dict[str, Any]] = []
    for question, answer, weight in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer, "weight": weight}]
    marked = Renderer(TOKENIZER, CHATML, 10_000).examples({"messages": messages}, 0, 1)
    plain = Renderer(TOKENIZER, UNMARKED, 10_000).examples({"messages": messages}, 0, 1)
    assert marked == plain
    answers = [answer + "<|im_end|>" for _, answer, weight in turns if weight]
    assert [decode(e.ids[a:b]) for e in marked for a, b in e.trained] == answers
