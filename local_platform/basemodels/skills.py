"""What a tiny base model can do, measured: exact match of greedy answers on fresh chats of each skill."""

from typing import Any, cast

import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from local_platform.basemodels.corpus import SKILLS, Chat, generate_skill

_MEASURE_SEED = 990_001


def measure_skills(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, *, count: int = 60) -> dict[str, float]:
    """Share of exact answers per skill, 0 to 1. `reply` has several right answers, so its score has a ceiling < 1."""
    return {skill: _measure(model, tokenizer, generate_skill(skill, count, _MEASURE_SEED)) for skill in SKILLS}


def answer_greedily(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, chats: list[Chat], max_new_tokens: int = 40
) -> list[str]:
    """The model's greedy answers to the chats' prompts, batched with left padding."""
    prompts = [
        str(tokenizer.apply_chat_template(chat.messages()[:-1], tokenize=False, add_generation_prompt=True))
        for chat in chats
    ]
    batch = tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
    with torch.inference_mode():
        output = cast(Any, model).generate(**batch, max_new_tokens=max_new_tokens, do_sample=False)
    return tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def _measure(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, chats: list[Chat]) -> float:
    answers = answer_greedily(model, tokenizer, chats)
    return sum(answer == chat.assistant for answer, chat in zip(answers, chats, strict=True)) / len(chats)
