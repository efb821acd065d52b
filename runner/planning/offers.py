"""What a sweep could be instead: a grid that tells rank and learning rate apart, and halving its candidates."""

from typing import Any, NamedTuple

from runner.planning.choices import Choices
from runner.planning.grid import GRIDS, moves_together
from runner.scoring.halving import list_rungs


class Offer(NamedTuple):
    """`words` are what to say for it; `intent` is what they mean."""

    words: str
    text: str
    intent: dict[str, Any]


def list_offers(intent: dict[str, Any], choices: Choices) -> list[Offer]:
    """For a sweep whose grid the user did not set; none where there is nothing to compare, or to save."""
    if not choices.sweep:
        return []
    offers: list[Offer] = []
    if not choices.grid_set and moves_together(choices.candidates):
        offers = [
            Offer("separate rank and learning rate", _text("each varied alone", "separated"), {"grid": "separated"}),
            Offer("use the full grid", _text("every rank with every learning rate", "full"), {"grid": "full"}),
        ]
    if not intent.get("prune") and list_rungs(max(candidate.epochs for candidate in choices.candidates)):
        text = "successive halving: the weaker half, by validation loss, is stopped after 1, 2, 4, ... epochs"
        offers.append(Offer("prune weak candidates", text, {"prune": True}))
    return offers


def _text(what: str, grid: str) -> str:
    return f"{len(GRIDS[grid])} candidates, {what}, so that the scoreboard tells which of the two made the difference"
