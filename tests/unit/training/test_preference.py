"""DPO and ORPO against a plain implementation: transformers, PEFT, padded batches, a second model as the reference."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import log_softmax, logsigmoid
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

from local_platform.training.carveout import carve_out_pairs
from local_platform.training.checkpoint import load_checkpoint
from local_platform.training.clock import Clock
from local_platform.training.data import load_pairs, load_tokenizer
from local_platform.training.forward import Network, build_network
from local_platform.training.model import add_adapter, choose_device, load_base, prepare_process, vocabulary_size
from local_platform.training.packing import Budget, Plan
from local_platform.training.pairs import Pairs
from local_platform.training.preference import dpo_terms, orpo_terms, reading_passes
from local_platform.training.progress import Progress
from local_platform.training.reference import Reference
from local_platform.training.spec import JobSpec
from pilotlight.errors import InvalidArgument
from tests.fixtures.training import (
    SpecMaker,
    adapter_of,
    losses_of,
    metrics_of,
    preference,
    preferences,
    progress_of,
    start,
    wait_for_step,
    write_rows,
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


def test_the_losses_are_the_papers_numbers() -> None:
    """Two pairs by hand: the first improves on its reference by 2 - (-1) nats, the second is a tie."""
    policy = torch.tensor([[-3.0, -6.0], [-4.0, -4.0]], dtype=torch.float64)
    terms = dpo_terms(policy, torch.tensor([[-5.0, -5.0], [-4.0, -4.0]], dtype=torch.float64), 0.5)
    assert terms.losses.tolist() == pytest.approx([math.log1p(math.exp(-1.5)), math.log(2)])
    assert terms.rewards.tolist() == [[1.0, -0.5], [0.0, 0.0]]
    terms = orpo_terms(policy, torch.tensor([[2, 3], [4, 4]]), 0.5)
    p, q = math.exp(-1.5), math.exp(-2.0)
    ratio = math.log(p / (1 - p) / (q / (1 - q)))
    assert terms.losses.tolist() == pytest.approx([1.5 + 0.5 * math.log1p(math.exp(-ratio)), 1 + 0.5 * math.log(2)])


def test_an_answer_that_is_certain_has_a_loss() -> None:
    policy = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    losses = orpo_terms(policy, torch.ones(1, 2, dtype=torch.int64), 0.1).losses
    losses.sum().backward()
    assert policy.grad is not None
    assert torch.isfinite(losses).all()
    assert torch.isfinite(policy.grad).all()


def open_pairs(spec: JobSpec) -> tuple[Network, Pairs]:
    device, progress = choose_device(spec), Progress(spec.work_directory / "progress.json")
    prepare_process(spec, device)
    base = load_base(spec, device)
    pairs, _ = load_pairs(spec, load_tokenizer(spec), vocabulary_size(base), progress)
    return build_network(add_adapter(base, spec), device), pairs


def nothing(_done: int) -> None:
    """A check that finds nothing."""


@pytest.mark.parametrize("batch", [None, 3])
def test_the_reference_is_a_frozen_copy(make_spec: SpecMaker, batch: int | None) -> None:
    """Also after the policy has moved: the adapter is set aside. Rows in packs, against a padded batch of a copy."""
    rows = preferences(10)
    spec = make_spec(rows=rows, method="DPO")
    network, pairs = open_pairs(spec)
    for parameter in network.model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    values = Reference(spec, network, Clock()).likelihoods(pairs, reading_passes(pairs, Budget(256), batch), nothing)
    tokenizer = AutoTokenizer.from_pretrained(spec.base_model_directory)
    frozen = AutoModelForCausalLM.from_pretrained(spec.base_model_directory, dtype=torch.float32).eval()
    with torch.no_grad():
        for side, name in enumerate(("preferred_output", "non_preferred_output")):
            expected = plain_likelihoods(frozen, [encode(tokenizer, row, name) for row in rows])
            assert values[:, side].tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_reference_that_was_interrupted_is_not_begun_again(make_spec: SpecMaker) -> None:
    spec = make_spec(rows=preferences(12), method="DPO")
    network, pairs = open_pairs(spec)
    passes = reading_passes(pairs, Budget(256), 3)

    def stop_in_the_middle(done: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Reference(spec, network, Clock(), save_seconds=0).likelihoods(pairs, passes, stop_in_the_middle)
    reached: list[int] = []
    values = Reference(spec, network, Clock()).likelihoods(pairs, passes, reached.append)
    assert reached == [6, 9]
    whole = make_spec("whole", rows=preferences(12), method="DPO")
    assert values.tolist() == Reference(whole, network, Clock()).likelihoods(pairs, passes, nothing).tolist()
    again: list[int] = []
    assert values.tolist() == Reference(spec, network, Clock()).likelihoods(pairs, passes, again.append).tolist()
    assert not again


def test_after_a_warm_start_the_reference_is_the_adapter_that_it_starts_from(make_spec: SpecMaker, run: Run) -> None:
    rows = preferences(24)
    first = make_spec("first", rows=rows, method="DPO", epochs=3, learning_rate=2e-3)
    run(first)
    warm = make_spec(
        "warm", rows=rows, method="DPO", warm_start_directory=first.output_directory, eval_auto_carveout=True
    )
    measures = run(warm)["measures"]
    start_row = metrics_of(warm)[0]
    assert start_row["warmStartEvalLoss"] == pytest.approx(math.log(2), abs=1e-6), "the start is its own reference"
    assert measures["base"]["rewardMargin"] < -0.01, "the base model is behind it"
    assert losses_of(warm)[0] == pytest.approx(math.log(2), abs=1e-5)


def test_the_reported_measures_are_those_of_the_published_adapter(
    make_spec: SpecMaker, run: Run, tmp_path: Path
) -> None:
    """Recomputed on the held-out pairs with PEFT's own loading of the published folder."""
    rows, held_out = preferences(24), preferences(9, start=50)
    held_out.append(preference("tie?", "same length a", "same length b"))
    path = write_rows(tmp_path / "held-out.jsonl", held_out)
    spec = make_spec(rows=rows, method="DPO", beta=0.2, epochs=4, evaluation_path=path, eval_interval_steps=2)
    progress = run(spec)
    tokenizer = AutoTokenizer.from_pretrained(spec.base_model_directory)
    frozen = AutoModelForCausalLM.from_pretrained(spec.base_model_directory, dtype=torch.float32).eval()
    batches = [[encode(tokenizer, row, f"{name}preferred_output") for row in held_out] for name in ("", "non_")]
    counts = torch.tensor([[len(ids) - prompt for ids, prompt in batch] for batch in batches])
    with torch.no_grad():
        reference = torch.stack([plain_likelihoods(frozen, batch) for batch in batches])
        tuned = PeftModel.from_pretrained(frozen, str(spec.output_directory)).eval()
        policy = torch.stack([plain_likelihoods(tuned, batch) for batch in batches])
    rewards = 0.2 * (policy - reference)
    expected = {
        "rewardChosen": rewards[0].mean().item(),
        "rewardRejected": rewards[1].mean().item(),
        "rewardMargin": (rewards[0] - rewards[1]).mean().item(),
        "rewardAccuracy": (rewards[0] > rewards[1]).double().mean().item(),
        "preferenceAccuracy": (policy[0] / counts[0] > policy[1] / counts[1]).double().mean().item(),
        "logpsChosen": policy[0].mean().item(),
        "logpsRejected": policy[1].mean().item(),
    }
    assert progress["measures"]["eval"] == pytest.approx(expected, abs=1e-3)
    assert progress["evalLoss"] == pytest.approx(-logsigmoid(rewards[0] - rewards[1]).mean().item(), abs=1e-4)
    base = (reference[0] / counts[0] > reference[1] / counts[1]).double().mean().item()
    assert progress["measures"]["base"]["preferenceAccuracy"] == pytest.approx(base)


def test_killed_and_resumed_equals_uninterrupted(make_spec: SpecMaker, run: Run) -> None:
    """kill -9 of the real process: metrics and adapter to the last bit, and the reference is not read again."""
    fields: dict[str, Any] = {
        "rows": preferences(32), "epochs": 5, "batch_size_samples": 4, "eval_auto_carveout": True, "method": "DPO",
        "eval_interval_steps": 10, "checkpoint_interval_steps": 5,
    }  # fmt: skip
    whole, broken = make_spec("whole", **fields), make_spec("broken", **fields)
    assert run(whole)["speed"]["referenceTokens"] > 0
    with start(broken) as process:
        wait_for_step(broken, 12)
        process.kill()
    assert progress_of(broken)["state"] == "RUNNING"
    assert load_checkpoint(broken.work_directory / "checkpoints", broken.digest())
    assert "referenceTokens" not in run(broken)["speed"]
    assert metrics_of(broken) == metrics_of(whole)
    ours, theirs = adapter_of(broken), adapter_of(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert progress_of(broken)["measures"] == progress_of(whole)["measures"]


def test_both_formats_and_accumulation_train_alike(make_spec: SpecMaker, run: Run) -> None:
    rows = preferences(16)
    sides = [
        {
            name: {"messages": [*row["input"]["messages"], *row[f"{not_}preferred_output"]]}
            for name, not_ in (("chosen", ""), ("rejected", "non_"))
        }
        for row in rows
    ]
    fields: dict[str, Any] = {"method": "DPO", "batch_size_samples": 8}
    one, other = make_spec("one", rows=rows, **fields), make_spec("other", rows=sides, **fields)
    smaller = make_spec("smaller", rows=rows, **fields | {"batch_size_samples": 2, "gradient_accumulation_steps": 4})
    for spec in (one, other, smaller):
        run(spec)
    assert losses_of(one) == losses_of(other)
    assert losses_of(one) == pytest.approx(losses_of(smaller), abs=1e-5)


def test_weights_multiply_a_pairs_loss_and_zero_leaves_it_out(make_spec: SpecMaker, run: Run) -> None:
    rows = [row | {"weight": 2.5} for row in preferences(12)] + [
        row | {"weight": 0} for row in preferences(4, start=50)
    ]
    spec = make_spec(rows=rows, method="DPO", batch_size_samples=12)
    assert run(spec)["totalSteps"] == 1
    assert losses_of(spec) == pytest.approx([2.5 * math.log(2)], abs=1e-5)
    assert metrics_of(spec)[0]["rewardAccuracy"] == 0.5, "measures count pairs, not weights"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (preference("q", "a", "b", weight=-1), "Line 4: The weight of a pair is negative"),
        (preference("q", "a", "b") | {"preferred_output": []}, "Line 4: preferred_output is not one assistant message"),
        ({"messages": [{"role": "user", "content": "q"}]}, "Line 4: input is not an object with messages"),
    ],
)
def test_a_row_that_is_no_pair_is_named(make_spec: SpecMaker, run: Run, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        run(make_spec(rows=[*preferences(3), row], method="DPO"))


def test_pairs_that_the_context_makes_equal_are_left_out(
    make_spec: SpecMaker, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """The answers differ in their last words only, beyond the context."""
    long = "the very same words " * 6
    rows = [*preferences(6), *(preference(f"{n}?", f"{long} yes", f"{long} no") for n in range(3))]
    spec = make_spec(rows=rows, method="DPO", max_context_length=100, batch_size_samples=2)
    assert run(spec)["totalSteps"] == 3
    assert "3 of 9 pairs tell nothing apart and are left out; lines 7, 8, 9" in caplog.text


def test_the_carve_out_keeps_equal_prompts_together(make_spec: SpecMaker) -> None:
    """Three answers to each prompt; whatever the order of the file, the same prompts are held out."""
    rows = [preference(f"prompt {n % 20}", f"good {n}", f"bad {n}") for n in range(60)]
    held: list[set[bytes]] = []
    for name, order in (("one", rows), ("other", rows[::-1])):
        _, pairs = open_pairs(make_spec(name, rows=order, method="DPO"))
        training, evaluation = carve_out_pairs(pairs)
        assert evaluation is not None
        assert (len(training), len(evaluation)) == (54, 6)
        sides = [set(part.prompt_keys().tolist()) for part in (training, evaluation)]
        assert not sides[0] & sides[1]
        held.append(sides[1])
    assert held[0] == held[1]
    _, alike = open_pairs(make_spec("alike", rows=[preference("q", f"a{n}", f"b{n}") for n in range(5)], method="DPO"))
    assert carve_out_pairs(alike)[1] is None


def test_checkpoints_of_supervised_jobs_do_not_depend_on_what_they_do_not_use(make_spec: SpecMaker) -> None:
    """A job that an older version began goes on."""
    spec = make_spec()
    assert spec.digest() == spec.model_copy(update={"beta": 0.3}).digest()
    dpo = spec.model_copy(update={"method": "DPO"})
    digests = {spec.digest(), dpo.digest(), dpo.model_copy(update={"beta": 0.3}).digest()}
    assert len(digests) == 3
    assert dpo.digest() == dpo.model_copy(update={"reference_batch_pairs": 5}).digest()
