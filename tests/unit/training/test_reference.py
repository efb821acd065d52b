"""Our loop against the plain one: transformers, PEFT, padded batches, the model's own loss, AdamW."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

from local_platform.training.packing import Budget, Plan
from local_platform.training.spec import JobSpec
from tests.fixtures.training import SpecMaker, adapter_of, colours, losses_of

STEPS = 20


def train_plainly(spec: JobSpec, rows: list[dict[str, Any]]) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses and the adapter of STEPS steps, in the order that the job uses."""
    tokenizer = AutoTokenizer.from_pretrained(spec.base_model_directory)
    encoded = [
        tokenizer.apply_chat_template(row["messages"], return_dict=True, return_assistant_tokens_mask=True)
        for row in rows
    ]
    torch.manual_seed(spec.seed)
    base = AutoModelForCausalLM.from_pretrained(spec.base_model_directory, dtype=torch.float32)
    alpha = int(spec.lora_alpha_ratio * spec.lora_rank)
    config = LoraConfig(r=spec.lora_rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=spec.learning_rate, weight_decay=spec.optimizer_weight_decay)
    lengths = np.array([len(e["input_ids"]) for e in encoded])
    plan = Plan(lengths, Budget(spec.batch_size), 1, spec.epochs, spec.seed)
    order = [chosen for epoch in range(len(plan.epoch_ends())) for (chosen,) in plan.epoch_steps(epoch)]
    schedule = get_linear_schedule_with_warmup(optimizer, spec.learning_rate_warmup_steps, len(order))
    losses: list[float] = []
    for chosen in order[:STEPS]:
        batch = [encoded[i] for i in chosen]
        width = max(len(e["input_ids"]) for e in batch)
        ids = torch.tensor([e["input_ids"] + [0] * (width - len(e["input_ids"])) for e in batch])
        mask = torch.tensor([e["attention_mask"] + [0] * (width - len(e["input_ids"])) for e in batch])
        kept = torch.tensor([e["assistant_masks"] + [0] * (width - len(e["input_ids"])) for e in batch]).bool()
        loss = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(~kept, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    state = {name.replace(".default", ""): p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return losses, state


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("fields", [{}, {"learning_rate_warmup_steps": 6, "optimizer_weight_decay": 0.1, "seed": 7}])
def test_twenty_steps_equal_the_plain_loop(
    make_spec: SpecMaker, run: Callable[[JobSpec], dict[str, Any]], fields: dict[str, Any]
) -> None:
    rows = colours(40)
    spec = make_spec(rows=rows, epochs=4, batch_size=320, learning_rate=5e-4, **fields)
    run(spec)
    ours = losses_of(spec)
    plain, _ = train_plainly(spec, rows)
    assert len(plain) == STEPS
    assert ours[0] - ours[STEPS - 1] > 0.5, "the loss must move for the comparison to mean anything"
    assert ours[:STEPS] == pytest.approx(plain, abs=1e-4)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_published_adapter_is_the_plain_loops(
    make_spec: SpecMaker, run: Callable[[JobSpec], dict[str, Any]]
) -> None:
    rows = colours(40)
    spec = make_spec(rows=rows, epochs=1, batch_size=160, learning_rate=5e-4)
    assert run(spec)["totalSteps"] <= STEPS
    _, state = train_plainly(spec, rows)
    published = adapter_of(spec)
    assert set(published) == set(state)
    for name, weights in state.items():
        torch.testing.assert_close(published[name], weights, rtol=1e-3, atol=1e-4)
