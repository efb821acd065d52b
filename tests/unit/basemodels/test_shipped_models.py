from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from local_platform.basemodels import ShippedModel, shipped
from local_platform.basemodels.build import build, load
from local_platform.basemodels.check import check, check_skills
from local_platform.basemodels.corpus import generate_chats
from local_platform.basemodels.demo_data import LABELS, NOISE_SHARE, TICKETS, generate_rows
from local_platform.basemodels.recipe import RECIPES
from local_platform.basemodels.words import TOPICS

MODELS = {model.id: model for model in shipped()}
TOKENIZER = PreTrainedTokenizerFast.from_pretrained(MODELS["ember-1m"].directory)


@pytest.mark.parametrize("model", shipped(), ids=lambda model: model.id)
def test_files_recipe_and_first_losses_are_as_recorded(model: ShippedModel):
    assert check(model.directory, steps=2) == []


def test_skills_are_as_recorded():
    skills, short = check_skills(MODELS["ember-500k"].directory)
    assert short == []
    assert skills["summary"] > 0.9


@pytest.mark.parametrize("model", shipped(), ids=lambda model: model.id)
def test_tokens_can_be_told_apart(model: ShippedModel):
    """Tokens with the same embedding are one token to every adapter; what is left are misspellings and rare numbers."""
    weights = load(model.directory)[0].state_dict()["model.embed_tokens.weight"]
    rows = torch.nn.functional.normalize(weights, dim=1)
    nearest = (rows @ rows.T).fill_diagonal_(-1).max(dim=1).values
    assert (nearest > 0.99).float().mean() < 0.15


def test_what_a_platform_must_know():
    big = MODELS["ember-1m"]
    assert (big.lora_alpha_ratio, big.hidden_size, big.context_length) == (128, 128, 1024)
    assert load(big.directory)[0].num_parameters() == big.parameter_count
    assert [model.id for model in shipped()] == ["ember-500k", "ember-1m"]


def test_a_build_repeats_bit_for_bit_and_a_changed_file_is_found(tmp_path: Path):
    recipe = replace(RECIPES["ember-500k"], steps=20, chats=2000)
    first, second = build(recipe, tmp_path / "a"), build(recipe, tmp_path / "b")
    weights = "model.safetensors"
    assert (first / weights).read_bytes() == (second / weights).read_bytes()
    (first / "config.json").write_text("{}")
    assert any("config.json" in problem for problem in check(first, steps=1))


@given(st.text())
def test_any_text_survives_the_tokenizer(text: str):
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    decoded = TOKENIZER.decode(ids)
    assert decoded == text.encode("utf-8", "replace").decode()


def test_the_template_marks_exactly_the_assistants_words():
    rows = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    rows += [{"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Bye"}]
    rows += [{"role": "assistant", "content": "See you.", "reasoning_content": "They leave."}]
    encoded = TOKENIZER.apply_chat_template(rows, return_assistant_tokens_mask=True, return_dict=True, tokenize=True)
    marked = [i for i, kept in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if kept]
    assert TOKENIZER.decode(marked) == "Hello.<|im_end|><think>They leave.</think>See you.<|im_end|>"


def test_the_demos_data_is_seeded_balanced_and_slightly_noisy():
    rows = list(generate_rows(600, 7))
    assert rows == list(generate_rows(600, 7))
    assert rows != list(generate_rows(600, 8))
    answers = Counter(row["messages"][-1]["content"] for row in rows)
    assert set(answers) == set(LABELS)
    assert max(answers.values()) - min(answers.values()) < 600 * NOISE_SHARE
    assert len({row["messages"][1]["content"] for row in rows}) == 600


def test_no_phrase_of_the_demo_is_in_the_corpus():
    learned = {ticket for topic in TOPICS for ticket in topic.tickets}
    assert not learned & {ticket for tickets in TICKETS.values() for ticket in tickets}
    answers = {chat.assistant for chat in generate_chats(5000, 3) if chat.skill != "echo"}
    assert not answers & set(LABELS)
