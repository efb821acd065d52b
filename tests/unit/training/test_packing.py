"""Packs hold every row once, keep to the budget, and change no loss and no gradient."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from transformers import PreTrainedModel

from local_platform.training.forward import build_network
from local_platform.training.model import Device, add_adapter, load_base, trainable
from local_platform.training.packing import Budget, Plan, build_pack, fill
from local_platform.training.pairs import Pairs
from local_platform.training.rows import Example, Rows, RowsBuilder, load_rows, save_rows
from local_platform.training.schedule import learning_rate
from local_platform.training.spec import JobSpec
from tests.fixtures.training import SpecMaker

CPU = Device(torch.device("cpu"), torch.float32)


def random_rows(lengths: list[int], seed: int = 0) -> Rows:
    """Rows of random tokens; the second half of each is trained."""
    rng, builder = np.random.default_rng(seed), RowsBuilder()
    for index, length in enumerate(lengths):
        ids = [int(token) for token in rng.integers(0, 250, length)]
        builder.add(Example(ids, [(length // 2, length)], 1.0, index, index + 1))
    return builder.build()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 120))
def test_every_row_is_in_one_pass_within_the_budget(lengths: list[int], budget: int) -> None:
    sizes = np.array(lengths)
    order = np.random.default_rng(1).permutation(len(sizes))
    passes = fill(sizes, order, Budget(budget))
    assert np.concatenate(passes).tolist() == order.tolist()
    assert all(len(chosen) == 1 or sizes[chosen].sum() <= budget for chosen in passes)
    joined = [sizes[np.concatenate(pair)].sum() for pair in itertools.pairwise(passes)]
    assert all(total > budget for total in joined if len(passes) > 1), "no two neighbours would have fitted together"


def test_rows_per_pass_replaces_the_token_budget() -> None:
    passes = fill(np.array([5, 500, 5, 5, 5]), np.arange(5), Budget(10, rows=2))
    assert [chosen.tolist() for chosen in passes] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize(
    ("epochs", "accumulation", "ends"),
    [
        (1, 1, [10]),
        (0.5, 1, [5]),
        (2.5, 1, [10, 20, 25]),
        (0.01, 1, [1]),
        (1, 4, [3]),
        (1.25, 4, [3, 4]),
        (2, 3, [4, 8]),
    ],
)
def test_steps_of_fractional_epochs(epochs: float, accumulation: int, ends: list[int]) -> None:
    plan = Plan(np.full(20, 10), Budget(20), accumulation, epochs, seed=1)
    assert plan.epoch_ends() == ends
    rows = [row for epoch in range(len(ends)) for step in plan.epoch_steps(epoch) for chosen in step for row in chosen]
    assert len(rows) == max(1, round(epochs * 20))
    assert plan.total_tokens() == 10 * len(rows)


def test_each_epoch_is_shuffled_anew_and_a_seed_repeats_it() -> None:
    plan = Plan(np.full(20, 10), Budget(20), 1, 2, seed=1)

    def order(p: Plan, epoch: int) -> list[int]:
        return [int(row) for step in p.epoch_steps(epoch) for chosen in step for row in chosen]

    assert order(plan, 0) != order(plan, 1)
    assert order(plan, 0) == order(Plan(np.full(20, 10), Budget(20), 1, 2, seed=1), 0)
    assert order(plan, 0) != order(Plan(np.full(20, 10), Budget(20), 1, 2, seed=2), 0)


def test_a_row_ends_before_its_last_trained_token() -> None:
    builder = RowsBuilder()
    builder.add(Example([1, 2, 3, 4, 5], [(1, 2), (3, 4)], 2.0, 0, 1))
    builder.add(Example([6, 7, 8], [(0, 2)], -1.0, 1, 2))
    pack = build_pack(builder.build(), np.array([1, 0]), CPU.device)
    assert pack.ids.tolist() == [[6, 1, 2, 3]]
    assert pack.positions.tolist() == [[0, 0, 1, 2]]
    assert pack.predicting.tolist() == [0, 1, 3]
    assert pack.targets.tolist() == [7, 2, 4]
    assert pack.weights.tolist() == [-1.0, 2.0, 2.0]


def test_rows_survive_the_disk(tmp_path: Path) -> None:
    rows = random_rows([4, 9, 2])
    save_rows(rows, tmp_path / "rows.npz")
    loaded = load_rows(tmp_path / "rows.npz")
    assert loaded.ids.tolist() == rows.ids.tolist()
    assert loaded.trained.tolist() == rows.trained.tolist()
    assert loaded.line.tolist() == [1, 2, 3]


def alike_rows(begin: int, lengths: list[int]) -> Rows:
    """Rows of random tokens that all begin with the same `begin` tokens; the last three are trained."""
    rng, builder = np.random.default_rng(5), RowsBuilder()
    start = [int(token) for token in rng.integers(0, 250, begin)]
    for index, length in enumerate(lengths):
        ids = [*start, *(int(token) for token in rng.integers(0, 250, length))]
        builder.add(Example(ids, [(len(ids) - 3, len(ids))], 1.0, index, index + 1))
    return builder.build()


def pair_rows(sizes: list[tuple[int, int, int]], begin: int = 0) -> Pairs:
    """Pairs of (prompt, preferred, other) random tokens; all prompts begin with the same `begin` tokens."""
    rng, builder = np.random.default_rng(6), RowsBuilder()
    start = [int(token) for token in rng.integers(0, 250, begin)]
    for index, (prompt, *answers) in enumerate(sizes):
        question = [*start, *(int(token) for token in rng.integers(0, 250, prompt))]
        for length in answers:
            ids = [*question, *(int(token) for token in rng.integers(0, 250, length))]
            builder.add(Example(ids, [(len(question), len(ids))], 1.0, index, index + 1))
    return Pairs(builder.build())


CASES = {
    "equal": random_rows([7, 7, 7]),
    "mixed": random_rows([30, 2, 9, 31, 17]),
    "one long": random_rows([200, 3, 4, 5, 6, 7, 90]),
    "single": random_rows([64]),
    "shortest": random_rows([2, 2]),
    "alike": alike_rows(40, [20, 25, 22]),
    "alike, of all lengths": alike_rows(40, [4, 90, 250, 8, 9, 40]),
    "alike up to the last prompt token": alike_rows(40, [4, 4]),
    "the same row twice": alike_rows(40, [3, 3]),
}


PAIR_CASES = {
    "one pair": pair_rows([(40, 9, 12)]),
    "pairs": pair_rows([(40, 9, 12), (12, 3, 30), (25, 7, 7)]),
    "pairs of all lengths": pair_rows([(9, 200, 3), (150, 4, 90), (30, 8, 8), (60, 3, 150)]),
    "pairs that share too little": pair_rows([(4, 9, 12), (30, 5, 6), (8, 3, 4)]),
    "pairs that all begin alike": pair_rows([(30, 9, 12), (12, 60, 5), (25, 7, 7)], begin=20),
}
ALL_CASES = {name: (rows, None) for name, rows in CASES.items()} | {
    name: (pairs.rows, pairs.common) for name, pairs in PAIR_CASES.items()
}


@pytest.mark.parametrize(("rows", "common"), ALL_CASES.values(), ids=ALL_CASES)
@pytest.mark.parametrize("fast", [True, False], ids=["fast layers", "plain layers"])
def test_packed_equals_one_row_at_a_time(
    make_spec: SpecMaker, rows: Rows, common: np.ndarray | None, fast: bool
) -> None:
    """Losses and gradients, row by row, against transformers' own attention and PEFT's own layers on single rows."""
    spec = make_spec(lora_alpha_ratio=8.0)
    device = CPU if fast else Device(torch.device("cpu"), torch.float64)
    packed, gradients = packed_losses(spec, rows, common, device)
    single, expected = single_losses(spec, rows)
    torch.testing.assert_close(packed, single, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours.float(), theirs, rtol=1e-3, atol=1e-4)


def adapted(spec: JobSpec, device: Device) -> tuple[PreTrainedModel, PeftModel]:
    """The base with an adapter that does something."""
    base = load_base(spec, device)
    model = add_adapter(base, spec)
    torch.manual_seed(3)
    for parameter in trainable(model):
        torch.nn.init.normal_(parameter, std=0.05)
    return base, model


def packed_losses(
    spec: JobSpec, rows: Rows, common: np.ndarray | None, device: Device
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    _, model = adapted(spec, device)
    losses = build_network(model, device).losses(build_pack(rows, np.arange(len(rows)), device.device, common))
    losses.sum().backward()
    return losses, [grad for parameter in trainable(model) if (grad := parameter.grad) is not None]


def single_losses(spec: JobSpec, rows: Rows) -> tuple[torch.Tensor, list[torch.Tensor]]:
    base, model = adapted(spec, CPU)
    base.config._attn_implementation = "eager"  # pyright: ignore[reportPrivateUsage]
    losses: list[torch.Tensor] = []
    for start, end in rows.bounds.tolist():
        ids = torch.from_numpy(rows.ids[start:end].astype(np.int64))
        logits = base(input_ids=ids[None]).logits[0, :-1]
        each = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        losses.append(each[torch.from_numpy(rows.trained[start + 1 : end])])
    torch.cat(losses).sum().backward()
    return torch.cat(losses), [grad for parameter in trainable(model) if (grad := parameter.grad) is not None]


def test_a_common_beginning_is_kept_once() -> None:
    rows = alike_rows(40, [20, 25, 22])
    pack = build_pack(rows, np.arange(3), CPU.device)
    assert pack.ids.shape[1] == 40 + 20 + 25 + 22 - 3
    assert pack.positions[0, 40:60].tolist() == [*range(40, 59), 40]
    assert pack.layout.shared == 40


def test_a_pairs_prompt_is_kept_once_but_for_its_last_token() -> None:
    """The last one predicts the first token of two answers."""
    pairs = pair_rows([(40, 20, 30), (50, 4, 6)])
    assert pairs.common.tolist() == [39, 49]
    pack = build_pack(pairs.rows, np.arange(4), CPU.device, pairs.common)
    assert pack.ids.shape[1] == sum([60, 70, 54, 56]) - 39 - 49 - 4
    assert pack.positions[0, 59 : 59 + 3].tolist() == [39, 40, 41]
    assert np.bincount(pack.row.numpy()).tolist() == [20, 30, 4, 6]


def test_a_trained_token_is_never_shared() -> None:
    builder = RowsBuilder()
    for index in range(2):
        builder.add(Example(list(range(30)), [(12, 15), (25, 30)], float(index + 1), index, index + 1))
    pack = build_pack(builder.build(), np.arange(2), CPU.device)
    assert pack.layout.shared == 11
    assert pack.targets.tolist() == [12, 13, 14, 25, 26, 27, 28, 29] * 2
    assert pack.weights.tolist() == [1.0] * 8 + [2.0] * 8


def test_the_learning_rate_ramps_up_and_down() -> None:
    rates = [learning_rate(step, 10, 4, 1.0) for step in range(11)]
    assert rates == pytest.approx([0, 0.25, 0.5, 0.75, 1, 5 / 6, 4 / 6, 0.5, 2 / 6, 1 / 6, 0])
    assert learning_rate(0, 10, 0, 1.0) == 1.0
