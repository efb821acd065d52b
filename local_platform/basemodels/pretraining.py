"""Pretraining of a tiny base model: Muon on matrices, AdamW on the rest, packed rows, one thread, one seed."""

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from local_platform.basemodels.corpus import COPY, Chat, generate_chats
from local_platform.basemodels.muon import Muon
from local_platform.basemodels.recipe import Recipe
from local_platform.basemodels.tokenizer import train_tokenizer

Batch = tuple[torch.Tensor, torch.Tensor]
"""Token IDs and loss weights, both [rows, length]."""


def train_corpus_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """The tokenizer, trained on the texts of the corpus but for its invented words."""
    chats = (chat for chat in generate_chats(recipe.chats, recipe.seed) if chat.skill != COPY)
    texts = (f"{part['role']}\n{part['content']}\n" for chat in chats for part in chat.messages())
    return train_tokenizer(texts, recipe.vocabulary, recipe.context_length)


def create_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A freshly initialised Qwen3 model with tied embeddings, fp32."""
    torch.manual_seed(recipe.seed)
    config = Qwen3Config(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        head_dim=recipe.hidden_size // recipe.heads,
        intermediate_size=recipe.intermediate_size,
        max_position_embeddings=recipe.context_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=cast(int, tokenizer.eos_token_id),
        pad_token_id=cast(int, tokenizer.pad_token_id),
    )
    return Qwen3ForCausalLM(config)


def pretrain(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerFast,
    *,
    steps: int | None = None,
    on_step: Callable[[int, float], None] = lambda _step, _loss: None,
) -> Qwen3ForCausalLM:
    """Train for `steps` of the recipe's schedule (all of it by default) and return the model in eval mode."""
    model = create_model(recipe, tokenizer).train()
    optimizers = _create_optimizers(model, recipe)
    for step, (tokens, weights) in enumerate(_generate_batches(recipe, tokenizer)):
        if step >= min(steps or recipe.steps, recipe.steps):
            break
        loss = _weigh_loss(model(input_ids=tokens).logits, tokens, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        for optimizer, peak in optimizers:
            optimizer.param_groups[0]["lr"] = peak * _schedule(step, recipe)
            optimizer.step()
            optimizer.zero_grad()
        on_step(step, loss.item())
    return model.eval()


def _create_optimizers(model: Qwen3ForCausalLM, recipe: Recipe) -> list[tuple[Muon | torch.optim.AdamW, float]]:
    embedding = model.get_input_embeddings().weight
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embedding]
    rest = [p for p in model.parameters() if p.ndim != 2 or p is embedding]
    return [
        (Muon(matrices, lr=recipe.muon_learning_rate), recipe.muon_learning_rate),
        (torch.optim.AdamW(rest, lr=recipe.adamw_learning_rate, betas=(0.9, 0.95)), recipe.adamw_learning_rate),
    ]


def _schedule(step: int, recipe: Recipe) -> float:
    warmup = min(1.0, (step + 1) / recipe.warmup_steps)
    return warmup * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))


def _weigh_loss(logits: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    losses = functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    kept = weights[:, 1:].flatten()
    return (losses * kept).sum() / kept.sum()


def _generate_batches(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[Batch]:
    """Endless batches of `tokens_per_step` tokens, cut from the stream of chats without padding."""
    stream = _stream_tokens(recipe, tokenizer)
    step = 0
    while True:
        is_long = step % recipe.long_row_every == recipe.long_row_every - 1
        length = recipe.long_row_length if is_long else recipe.row_length
        pairs = [next(stream) for _ in range(recipe.tokens_per_step)]
        tokens, weights = zip(*pairs, strict=True)
        yield torch.tensor(tokens).view(-1, length), torch.tensor(weights).view(-1, length)
        step += 1


def _stream_tokens(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[int, float]]:
    seed = recipe.seed
    while True:
        for chat in generate_chats(recipe.chats, seed):
            yield from encode_chat(chat, tokenizer, recipe.prompt_weight)
        seed += 1


def encode_chat(chat: Chat, tokenizer: PreTrainedTokenizerFast, prompt_weight: float) -> Iterator[tuple[int, float]]:
    """Token IDs with loss weights: 1 where the template marks the assistant's own tokens, else `prompt_weight`."""
    encoded = cast(
        Any,
        tokenizer.apply_chat_template(
            chat.messages(), return_assistant_tokens_mask=True, return_dict=True, tokenize=True
        ),
    )
    for token, is_answer in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True):
        yield token, 1.0 if is_answer else prompt_weight
