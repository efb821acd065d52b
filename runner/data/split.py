"""Training and held-out side, and the subsample for the sweep. Seeded, and by content: duplicates stay together."""

import hashlib
import json
import random
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner.data.conversion import convert
from runner.data.rows import read_lines

SEED = 42
HELDOUT_SHARE = 0.2
SWEEP_ROWS = 1000
"""Above this many training rows the sweep trains on a subsample of this size [A134]."""


def choose_heldout(groups: "array[int]", share: float = HELDOUT_SHARE, seed: int = SEED, least: int = 3) -> set[int]:
    """The groups of the held-out side: shuffled by a keyed hash, taken until `share` of all rows is reached.

    A group is a content key; equal keys are never parted. At least `least` rows are taken, and one group is left.
    """
    sizes: dict[int, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    wanted, taken, chosen = max(share * len(groups), least), 0, set[int]()
    for group in sorted(sizes, key=lambda key: shuffled(key, seed)):
        if chosen and (taken + sizes[group] / 2 > wanted or len(chosen) + 1 == len(sizes)):
            break
        chosen.add(group)
        taken += sizes[group]
    return chosen


def choose_sample(rows: int, size: int, seed: int = SEED) -> set[int]:
    """Positions (from 0) of `size` rows of `rows`, without replacement."""
    return set(random.Random(seed).sample(range(rows), min(size, rows)))


def write_rows(source: Path, lines: Iterable[int], target: Path) -> str:
    """Copy the given lines (ascending numbers) of `source`, converted where needed; returns the SHA-256."""
    digest, part = hashlib.sha256(), target.with_name(target.name + ".part")
    with part.open("wb") as stream:
        for row in _pick(source, iter(lines)):
            digest.update(row)
            stream.write(row)
    part.replace(target)
    return digest.hexdigest()


def _pick(source: Path, lines: Iterator[int]) -> Iterator[bytes]:
    wanted = next(lines, None)
    for line in read_lines(source):
        if wanted is None:
            return
        if line.number != wanted:
            continue
        wanted = next(lines, None)
        row, done = convert(line.value or {})
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n" if done else line.raw.rstrip(b"\r\n") + b"\n"


def shuffled(group: int, seed: int = SEED) -> bytes:
    """Sorting by this puts keys into an order that depends on the keys and the seed only."""
    return hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=16).digest()
