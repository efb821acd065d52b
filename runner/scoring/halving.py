"""Successive halving: at a rung, who is not in the better half of those that have reached it is stopped. Pure.

It works with any number of runs at a time: a run is judged at the highest rung that it has reached, against all that
have reached that rung so far; so the best one there always goes on.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from runner.scoring.winner import TIE

Losses = Mapping[float, float]
"""Validation loss by finished epochs."""


class Weak(NamedTuple):
    """Why a run is stopped: its loss at the rung, and the best one there."""

    rung: int
    loss: float
    best: str
    best_loss: float


def list_rungs(epochs: float) -> list[int]:
    """After 1, 2, 4, ... epochs, the last one excepted: there is nothing left to save."""
    return [2**power for power in range(32) if 2**power < epochs]


def find_weaker(reached: Mapping[str, Losses], epochs: float) -> dict[str, Weak]:
    """Those to stop, of all that have reached a rung. Losses within 1 % of the last one kept are not told apart."""
    weaker: dict[str, Weak] = {}
    for rung in list_rungs(epochs):
        seen = {label: losses[rung] for label, losses in reached.items() if rung in losses}
        ranked = sorted(seen, key=lambda label: seen[label])
        for label in ranked:
            weaker.pop(label, None)  # it has gone on to this rung, so this one judges it
            if seen[label] > seen[ranked[math.ceil(len(ranked) / 2) - 1]] * (1 + TIE):
                weaker[label] = Weak(rung, seen[label], ranked[0], seen[ranked[0]])
    return weaker


def expected_share(candidates: int, epochs: float) -> float:
    """The part of all training that is left when every rung stops half of the candidates (the odd one goes on)."""
    edges, left, trained = [0.0, *map(float, list_rungs(epochs)), epochs], candidates, 0.0
    for start, end in pairwise(edges):
        trained += left * (end - start)
        left = math.ceil(left / 2)
    return trained / (candidates * epochs)
