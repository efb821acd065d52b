"""Packs hold every row once, keep to the budget, and change no loss and no gradient."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from local_platform.training.forward import pack_losses
from local_platform.training.model import Device, add_adapter, load_base, trainable
from local_platform.training.packing import Budget, Plan, build_pack, fill
from local_platform.training.rows import Example, Rows, RowsBuilder, load_rows, save_rows
from local_platform.training.schedule import learning_rate
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


@pytest.mark.parametrize(
    "lengths",
    [[7, 7, 7], [30, 2, 9, 31, 17], [200, 3, 4, 5, 6, 7, 90], [64], [2, 2]],
    ids=["equal", "mixed", "one long", "single", "shortest"],
)
def test_packed_equals_one_row_at_a_time(make_spec: SpecMaker, lengths: list[int]) -> None:
    """Losses and gradients, row by row, against transformers' own attention on single rows."""
    spec = make_spec(lora_alpha_ratio=8.0)
    rows, everything = random_rows(lengths), np.arange(len(lengths))
    torch.manual_seed(3)
    base = load_base(spec, CPU)
    model = add_adapter(base, spec)
    for parameter in trainable(model):
        torch.nn.init.normal_(parameter, std=0.05)
    network = model.get_base_model()

    packed = pack_losses(network, build_pack(rows, everything, CPU.device), CPU)
    packed.sum().backward()
    gradients = [parameter.grad for parameter in trainable(model)]
    model.zero_grad()

    base.config._attn_implementation = "eager"  # pyright: ignore[reportPrivateUsage]
    single: list[torch.Tensor] = []
    for start, end in rows.bounds.tolist():
        ids = torch.from_numpy(rows.ids[start:end].astype(np.int64))
        logits = network(input_ids=ids[None]).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        single.append(losses[torch.from_numpy(rows.trained[start + 1 : end])])
    torch.cat(single).sum().backward()

    torch.testing.assert_close(packed, torch.cat(single), rtol=1e-5, atol=1e-5)
    for ours, parameter in zip(gradients, trainable(model), strict=True):
        torch.testing.assert_close(ours, parameter.grad, rtol=1e-4, atol=1e-4)


def test_the_learning_rate_ramps_up_and_down() -> None:
    rates = [learning_rate(step, 10, 4, 1.0) for step in range(11)]
    assert rates == pytest.approx([0, 0.25, 0.5, 0.75, 1, 5 / 6, 4 / 6, 0.5, 2 / 6, 1 / 6, 0])
    assert learning_rate(0, 10, 0, 1.0) == 1.0
