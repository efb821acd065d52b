"""Who wins a sweep by evaluator score: the highest mean; what chance explains by loss, then the cheaper [GAP 15]."""

from collections.abc import Mapping, Sequence

from runner.planning.recipe import Recipe
from runner.planning.scored_requests import base_label
from runner.scoring.label_winner import Entry, pick
from runner.scoring.labels import difference
from runner.scoring.winner import Verdict

_RANKS = 1000
"""A larger base model costs more than any rank of a smaller one."""


def choose(recipe: Recipe, scores: Mapping[str, Sequence[float]], losses: Mapping[str, float | None]) -> Verdict:
    """The winner among the candidates that have scores, why, and whether it beats its base model beyond chance.

    `scores` are by label, of candidates and base models, for the same rows in the same order.
    """
    entries = [
        Entry(one.id, scores[one.id], _size(recipe, one.base_model, one.lora_rank), losses.get(one.id))
        for one in recipe.candidates
        if one.id in scores
    ]
    winner, best, tie = pick(entries)
    reason = f"the highest evaluator score, {winner.accuracy:.3f}"
    if tie:
        gap = difference(winner.hits, best.hits)
        reason = (
            f"a tie with {best.name} ({gap.low:+.3f} to {gap.high:+.3f} between their scores, 95 % interval), and "
            f"{_better(winner, best)}"
        )
    base = scores[base_label(recipe, recipe.candidate(winner.name).base_model)]
    return Verdict(winner.name, reason, difference(base, winner.hits).low > 0)


def _size(recipe: Recipe, base: str, rank: int) -> float:
    return float(recipe.base(base).parameters or 0) * _RANKS + rank


def _better(winner: Entry, best: Entry) -> str:
    lower = winner.loss is not None and best.loss is not None and winner.loss < best.loss
    return "the lower validation loss" if lower else "the smaller one"
