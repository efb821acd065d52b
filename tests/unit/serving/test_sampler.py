"""Choosing a token: against transformers' own processors, and as a distribution."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from local_platform.serving.requests import Sampling
from local_platform.serving.sampler import choose, truncate

SIZE = 200


@dataclass
class Bare:
    sampling: Sampling
    random: Random = field(default_factory=lambda: Random("x"))
    prompt_ids: tuple[int, ...] = ()
    output_ids: list[int] = field(default_factory=list[int])


def noise(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize(
    ("sampling", "warper"),
    [
        (Sampling(top_k=7), TopKLogitsWarper(7)),
        (Sampling(top_p=0.8), TopPLogitsWarper(0.8)),
        (Sampling(top_p=0.01), TopPLogitsWarper(0.01)),
        (Sampling(min_p=0.1), MinPLogitsWarper(0.1)),
        (Sampling(), None),
    ],
)
def test_truncation_keeps_what_transformers_keeps(sampling: Sampling, warper: Any) -> None:
    logits = noise(40)
    company = [sampling, Sampling(top_k=3, top_p=0.5, min_p=0.2)] * 20
    kept = truncate(logits, company).isfinite()
    expected = warper(None, logits.clone()).isfinite() if warper else torch.ones_like(logits).bool()
    assert torch.equal(kept[::2], expected[::2])
    assert bool(kept.any(dim=-1).all())


def test_repetition_penalty_equals_transformers() -> None:
    logits, seen = noise(1), (3, 9, 3, 40)
    row = Bare(Sampling(temperature=0, repetition_penalty=1.9), prompt_ids=seen[:2], output_ids=list(seen[2:]))
    reference: Any = RepetitionPenaltyLogitsProcessor(1.9)
    expected = reference(torch.tensor([seen]), logits.clone())
    for token in seen:
        pushed = logits.clone()
        pushed[0, token] += 30
        wanted = reference(torch.tensor([seen]), pushed.clone())
        assert int(choose(pushed, [row])[0]) == int(wanted.argmax())
    assert int(choose(logits, [row])[0]) == int(expected.argmax())


def test_penalties_and_bias_shift_by_the_documented_amounts() -> None:
    logits = torch.zeros(1, SIZE)
    row = Bare(Sampling(temperature=0, frequency_penalty=0.5, presence_penalty=0.3, logit_bias={5: 1.29}))
    row.output_ids = [5, 5]  # 1.29 - 2 * 0.5 - 0.3 < 0 <= every other
    assert int(choose(logits, [row])[0]) == 0
    row.output_ids = [5]  # 1.29 - 0.5 - 0.3 > 0
    assert int(choose(logits, [row])[0]) == 5
    assert bool((logits == 0).all()), "the caller's logits were changed"


def test_greedy_rows_in_mixed_company_take_the_argmax() -> None:
    logits = noise(6)
    rows = [Bare(Sampling(temperature=0)) if i % 2 else Bare(Sampling(temperature=1.5, top_k=20)) for i in range(6)]
    assert choose(logits, rows)[1::2].tolist() == logits.argmax(-1)[1::2].tolist()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_frequencies_follow_the_tempered_truncated_distribution(temperature: float) -> None:
    count = 20_000
    logits = noise(1, seed=4)
    sampling = Sampling(temperature=temperature, top_k=10)
    expected = truncate(logits / temperature, [sampling])[0].softmax(-1)
    rows = [Bare(sampling, Random(f"{i}")) for i in range(count)]
    hits = torch.bincount(choose(logits.expand(count, -1), rows), minlength=SIZE) / count
    assert bool((hits[expected == 0] == 0).all())
    error = (expected * (1 - expected) / count).sqrt()
    assert bool(((hits - expected).abs() <= 5 * error + 1e-9).all())


@pytest.mark.parametrize("drawn", [0.0, 1.0 - 2**-53])
def test_extreme_draws_hit_possible_tokens(drawn: float) -> None:
    class Fixed(Random):
        def random(self) -> float:
            return drawn

    logits = torch.full((1, SIZE), -1e4)
    logits[0, [17, 60]] = 0.0
    assert int(choose(logits, [Bare(Sampling(), Fixed())])[0]) == (17 if drawn == 0 else 60)
