"""Who wins a sweep: the lowest validation loss; a tie goes to the cheaper; the base model may win [GAP 15]."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from pilotlight.plan import Candidate
from runner.jobs import JobResult
from runner.scoring.intervals import Interval
from runner.scoring.losses import loss_difference

TIE = 0.01
"""Losses that differ by less than this share are a tie."""


class Verdict(NamedTuple):
    """The proposed winner, why, and whether it beats the base model (None when that cannot be told)."""

    winner: str
    reason: str
    beats_base: bool | None
    tied: Sequence[str] = ()
    """Candidates that are not told apart from the best one, itself among them; empty where there is no tie."""


class ByRow(Protocol):
    """Summed losses by held-out row."""

    @property
    def tokens(self) -> list[int]:
        """Of each row, those that carry loss."""
        ...

    @property
    def tuned(self) -> list[float]:
        """Of the trained model."""
        ...

    @property
    def change(self) -> Interval:
        """Mean loss per token against the base model."""
        ...


def choose_winner(
    results: list[JobResult], candidates: list[Candidate], rows: Mapping[str, ByRow] | None = None
) -> Verdict | None:
    """Judge the candidates that finished with a loss; None when there is none.

    A tie is a paired difference whose 95 % interval contains 0, where losses by row are known, or less than 1 %.
    """
    ranks, rows = {candidate.id: candidate.lora_rank for candidate in candidates}, rows or {}
    scored = [(result.eval_loss, result) for result in results if result.done and result.eval_loss is not None]
    if not scored:
        return None
    best_loss, best = min(scored, key=lambda item: item[0])
    gaps = {result.label: _gap(rows, result.label, best.label) for _, result in scored}
    tied = [result for loss, result in scored if loss <= best_loss * (1 + TIE) or _may_be_zero(gaps[result.label])]
    winner = min(tied, key=lambda result: (ranks[result.label], result.seconds or 0.0))
    reason = "the lowest validation loss"
    if winner is not best:
        reason = f"{_told(gaps[winner.label], best.label)}, and the smaller adapter"
    labels = [result.label for result in tied] if len(tied) > 1 else []
    return Verdict(winner.label, reason, _beats_base(results, winner, rows), labels)


def _told(gap: Interval | None, best: str) -> str:
    if gap is None or gap.low > 0:
        return f"within {TIE:.0%} of the lowest validation loss ({best})"
    return f"a tie with {best}, the 95 % interval of the difference is {gap.low:+.3f} to {gap.high:+.3f}"


def _gap(rows: Mapping[str, ByRow], label: str, best: str) -> Interval | None:
    """How much more loss a candidate has than the best one, row by row; None where that is not known."""
    one, other = rows.get(label), rows.get(best)
    if one is None or other is None or one.tokens != other.tokens:
        return None
    return loss_difference(one.tuned, other.tuned, one.tokens)


def _may_be_zero(gap: Interval | None) -> bool:
    return gap is not None and gap.low <= 0


def _beats_base(results: list[JobResult], winner: JobResult, rows: Mapping[str, ByRow]) -> bool | None:
    """Beyond chance, where losses by row are known; else by the bare number."""
    if winner.label in rows:
        return rows[winner.label].change.high < 0
    base = next((result.base_loss for result in results if result.base_loss is not None), None)
    return None if base is None or winner.eval_loss is None else winner.eval_loss < base
