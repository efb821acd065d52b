"""Who wins a sweep: the lowest validation loss; a tie goes to the cheaper; the base model may win [GAP 15]."""

from typing import NamedTuple

from pilotlight.plan import Candidate
from runner.jobs import JobResult

TIE = 0.01
"""Losses that differ by less than this share are a tie."""


class Verdict(NamedTuple):
    """The proposed winner, why, and whether it beats the base model (None when that cannot be told)."""

    winner: str
    reason: str
    beats_base: bool | None


def choose_winner(results: list[JobResult], candidates: list[Candidate]) -> Verdict | None:
    """Judge the candidates that finished with a loss; None when there is none."""
    ranks = {candidate.id: candidate.lora_rank for candidate in candidates}
    scored = [(result.eval_loss, result) for result in results if result.done and result.eval_loss is not None]
    if not scored:
        return None
    best_loss, best = min(scored, key=lambda item: item[0])
    tied = [result for loss, result in scored if loss <= best_loss * (1 + TIE)]
    winner = min(tied, key=lambda result: (ranks[result.label], result.seconds or 0.0))
    reason = "the lowest validation loss"
    if winner is not best:
        reason = f"within {TIE:.0%} of the lowest validation loss ({best.label}), and the smaller adapter"
    base = next((result.base_loss for result in results if result.base_loss is not None), None)
    return Verdict(winner.label, reason, None if base is None else (winner.eval_loss or best_loss) < base)
