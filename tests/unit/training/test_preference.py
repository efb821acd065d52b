"""DPO and ORPO against a plain implementation: transformers, PEFT, padded batches, a second model as the reference."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import log_softmax, logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

from local_platform.training.packing import Budget, Plan
from local_platform.training.spec import JobSpec
from tests.fixtures.training import (
    SpecMaker,
    adapter_of,
    losses_of,
    preferences,
)

STEPS = 20
Run = Callable[[JobSpec], dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def encode(tokenizer: Any, row: dict[str, Any], output: str) -> tuple[list[int], int]:
    """(ids of prompt and answer, how many are the prompt's)."""
    messages = row["input"]["messages"]
    prompt = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=True)
    whole = tokenizer.apply_chat_template([*messages, *row[output]], tokenize=True, return_dict=True)
    return whole["input_ids"][:-1], len(prompt["input_ids"])  # the template's last line end is not the answer's


def plain_likelihoods(model: Any, batch: list[tuple[list[int], int]]) -> torch.Tensor:
    """(rows,) summed log-probabilities of the answers, from one padded batch with a mask."""
    width = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in batch])
    logps = log_softmax(model(input_ids=ids, attention_mask=mask).logits[:, :-1].double(), dim=-1)
    picked = logps.gather(2, ids[:, 1:, None])[..., 0]
    return torch.stack([picked[i, prompt - 1 : len(row) - 1].sum() for i, (row, prompt) in enumerate(batch)])


def plain_loss(spec: JobSpec, policy: torch.Tensor, reference: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The papers' formulas, mean over the pairs; all (2, pairs), the preferred answers first."""
    if spec.method == "DPO":
        return -logsigmoid(spec.beta * ((policy[0] - reference[0]) - (policy[1] - reference[1]))).mean()
    p = (policy / counts).exp()
    odds = p / (1 - p)
    return (-policy[0] / counts[0] - spec.beta * logsigmoid(torch.log(odds[0] / odds[1]))).mean()


def train_plainly(spec: JobSpec, rows: list[dict[str, Any]]) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses and the adapter of STEPS steps, in the order that the job uses."""
    tokenizer = AutoTokenizer.from_pretrained(spec.base_model_directory)
    sides = [[encode(tokenizer, row, f"{name}preferred_output") for row in rows] for name in ("", "non_")]
    torch.manual_seed(spec.seed)
    frozen = AutoModelForCausalLM.from_pretrained(spec.base_model_directory, dtype=torch.float32).eval()
    torch.manual_seed(spec.seed)
    base = AutoModelForCausalLM.from_pretrained(spec.base_model_directory, dtype=torch.float32)
    alpha = int(spec.lora_alpha_ratio * spec.lora_rank)
    config = LoraConfig(r=spec.lora_rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=spec.learning_rate, weight_decay=spec.optimizer_weight_decay)
    lengths = np.array([len(a) + len(b) + 2 for (a, _), (b, _) in zip(*sides, strict=True)])
    plan = Plan(lengths, Budget(spec.batch_size, spec.batch_size_samples), 1, spec.epochs, spec.seed)
    order = [chosen for epoch in range(len(plan.epoch_ends())) for (chosen,) in plan.epoch_steps(epoch)]
    schedule = get_linear_schedule_with_warmup(optimizer, spec.learning_rate_warmup_steps, len(order))
    losses: list[float] = []
    for chosen in order[:STEPS]:
        batches = [[side[i] for i in chosen] for side in sides]
        counts = torch.tensor([[len(ids) - prompt for ids, prompt in batch] for batch in batches])
        policy = torch.stack([plain_likelihoods(model, batch) for batch in batches])
        with torch.no_grad():
            reference = torch.stack([plain_likelihoods(frozen, batch) for batch in batches])
        loss = plain_loss(spec, policy, reference, counts)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    state = {name.replace(".default", ""): p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return losses, state


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "DPO", "beta": 0.3, "learning_rate": 1e-3},
        {"method": "DPO", "learning_rate_warmup_steps": 6, "optimizer_weight_decay": 0.1, "seed": 7},
        {"method": "ORPO", "beta": 0.2},
    ],
)
def test_twenty_steps_equal_the_plain_loop(make_spec: SpecMaker, run: Run, fields: dict[str, Any]) -> None:
    rows = preferences(40)
    spec = make_spec(rows=rows, epochs=2, **({"batch_size_samples": 4, "learning_rate": 5e-4} | fields))
    assert run(spec)["totalSteps"] == STEPS
    ours, (plain, state) = losses_of(spec), train_plainly(spec, rows)
    assert ours[0] - ours[-1] > 0.2, "the loss must move for the comparison to mean anything"
    assert ours == pytest.approx(plain, abs=1e-4)
    published = adapter_of(spec)
    assert set(published) == set(state)
    for name, weights in state.items():
        torch.testing.assert_close(published[name], weights, rtol=1e-3, atol=2e-4)
