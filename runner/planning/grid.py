"""The candidate grid [A131-A133, A149-A154] and how many epochs a run takes."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from pilotlight.plan import Candidate
from runner.planning.catalogue import BaseFacts

DEFAULT_GRID = ((8, 1.5e-4), (16, 1.0e-4), (32, 5.0e-5))
DEFAULT_SINGLE = (16, 1.0e-4)
"""Without a sweep: the middle of the documented grid."""
PAIR_RANK = 16
PAIR_RATES = {"DPO": 1.0e-5, "ORPO": 1.0e-4}
"""DPO has to move ten times as slowly, or what the model says collapses."""
PAIR_GRIDS = {
    "DPO": ((1.0e-5, 0.1), (1.0e-5, 0.3), (3.0e-5, 0.1)),
    "ORPO": ((1.0e-4, 0.1), (1.0e-4, 0.3), (5.0e-5, 0.1)),
}
"""Learning rate and beta, the middle of the road first."""
BETAS = {"DPO": 0.5, "ORPO": 1.0}
"""By method: where beta ends."""
_RANKS, _RATES = [rank for rank, _ in DEFAULT_GRID], [rate for _, rate in DEFAULT_GRID]
GRIDS: dict[str, tuple[tuple[int, float], ...]] = {
    "usual": DEFAULT_GRID,
    "separated": (
        *((rank, DEFAULT_SINGLE[1]) for rank in _RANKS),
        *((DEFAULT_SINGLE[0], rate) for rate in _RATES if rate != DEFAULT_SINGLE[1]),
    ),
    "full": tuple(product(_RANKS, _RATES)),
}
"""The documented one moves rank and learning rate together. The others tell them apart: each alone, or all of both."""
MAX_PARALLEL = 6
LEAST_RATE, HIGHEST_RATE, MOST_EPOCHS = 1e-5, 5e-4, 100
LORA_RANKS = (1, 2, 4, 8, 16, 32)
"""Powers of two up to 32 [P56]."""


def check_values(intent: dict[str, Any]) -> str:
    """What the platform would refuse in the user's own values, in words; empty when all is well."""
    problems: list[str] = []
    listed = ", ".join(map(str, LORA_RANKS))
    ranks = [rank for rank in intent.get("lora_ranks") or [] if rank not in LORA_RANKS]
    if ranks:
        problems.append(f"LoRA rank {', '.join(map(str, ranks))} is not possible: they are {listed}.")
    rates = [rate for rate in intent.get("learning_rates") or [] if not LEAST_RATE <= rate <= HIGHEST_RATE]
    if rates:
        problems.append(f"A learning rate of {', '.join(f'{rate:g}' for rate in rates)} is not possible: 1e-5 to 5e-4.")
    method = str(intent.get("preference_method") or "dpo").upper()
    top = BETAS[method]
    betas = [beta for beta in intent.get("betas") or [] if not 0 < beta <= top or (method == "DPO" and beta == top)]
    if betas:
        below = "less than" if method == "DPO" else "at most"
        problems.append(
            f"A beta of {', '.join(f'{beta:g}' for beta in betas)} is not possible: for {method} it is more than 0 and "
            f"{below} {top:g}."
        )
    epochs, samples, jobs = (intent.get(name) for name in ("epochs", "hp_samples", "max_parallel_jobs"))
    if epochs is not None and not 0 < epochs <= MOST_EPOCHS:
        problems.append(f"{epochs:g} epochs are not possible: more than 0, at most {MOST_EPOCHS}.")
    if samples is not None and samples < 3:
        problems.append("HP tuning needs at least 3 samples.")
    if jobs is not None and jobs < 1:
        problems.append("At least one job has to run at a time.")
    return " ".join(problems)


def without_impossible(intent: dict[str, Any]) -> dict[str, Any]:
    """The intent without the values that check_values() refuses: the defaults take their place."""
    return {name: value for name, value in intent.items() if not check_values({name: value})}


class Grid(NamedTuple):
    """Candidates, and which of their values the user set."""

    candidates: list[Candidate]
    ranks_set: bool
    rates_set: bool


def default_epochs(rows: int) -> int:
    """`min(5, ceil(2500 / rows))` with the run's own training rows."""
    return min(5, math.ceil(2500 / max(rows, 1)))


def build_grid(
    bases: list[BaseFacts],
    ranks: list[int] | None,
    rates: list[float] | None,
    epochs: float,
    single: bool,
    grid: str | None = None,
) -> Grid:
    """All candidates, bases outermost. Explicit lists are crossed; one explicit list keeps the default of the other.

    `grid` is one of GRIDS, and counts where there is no list.

    With `single` (no sweep) one candidate per base: the first given values, else the middle of the default grid.
    """
    pairs = _pairs(ranks, rates) if ranks or rates else list(GRIDS[grid or "usual"])
    if single:
        pairs = [(ranks[0] if ranks else DEFAULT_SINGLE[0], rates[0] if rates else DEFAULT_SINGLE[1])]
    chosen = bases[:1] if single else bases
    candidates = [
        Candidate(id=f"c{number}", base_model=base.name, lora_rank=rank, learning_rate=rate, epochs=epochs)
        for number, (base, (rank, rate)) in enumerate(product(chosen, pairs), 1)
    ]
    return Grid(candidates, bool(ranks), bool(rates))


def _pairs(ranks: list[int] | None, rates: list[float] | None) -> list[tuple[int, float]]:
    """Ranks alone keep the learning rate that the default grid pairs with them; rates alone are tried at rank 16."""
    if ranks and rates:
        return list(product(dict.fromkeys(ranks), dict.fromkeys(rates)))
    usual = dict(DEFAULT_GRID)
    if ranks:
        return [(rank, usual.get(rank, DEFAULT_SINGLE[1])) for rank in dict.fromkeys(ranks)]
    return [(DEFAULT_SINGLE[0], rate) for rate in dict.fromkeys(rates or [])]


def moves_together(candidates: Sequence[Candidate]) -> bool:
    """Whether neither rank nor learning rate ever changes alone, so that a sweep cannot tell which of them matters."""
    pairs = {(candidate.lora_rank, candidate.learning_rate) for candidate in candidates}
    return len(pairs) > 1 and all(
        sum(one == rank for one, _ in pairs) == 1 == sum(one == rate for _, one in pairs) for rank, rate in pairs
    )


def build_pair_grid(bases: list[BaseFacts], intent: dict[str, Any], method: str, epochs: float) -> Grid:
    """The candidates of preference learning [A167, A173], base models outermost.

    Of several base models without a grid each gets one setting; of one, the default grid is tried. Explicit lists are
    crossed, and a list that is missing then has one value. With `skip_sweep` one candidate is left.
    """
    ranks, rates, betas = (intent.get(name) or [] for name in ("lora_ranks", "learning_rates", "betas"))
    usual = (PAIR_RATES[method], PAIR_GRIDS[method][0][1])
    settings = [(rank, *pair) for rank in [PAIR_RANK] for pair in PAIR_GRIDS[method]]
    if ranks or rates or betas or len(bases) > 1:
        settings = list(product(_known(ranks, PAIR_RANK), _known(rates, usual[0]), _known(betas, usual[1])))
    if intent.get("skip_sweep"):
        bases, settings = bases[:1], settings[:1]
    candidates = [
        Candidate(id=f"c{number}", base_model=base.name, lora_rank=rank, learning_rate=rate, epochs=epochs, beta=beta)
        for number, (base, (rank, rate, beta)) in enumerate(product(bases, settings), 1)
    ]
    return Grid(candidates, bool(ranks), bool(rates or betas))


def _known(values: list[Any], usual: float) -> list[Any]:
    return list(dict.fromkeys(values)) or [usual]
