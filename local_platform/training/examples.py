"""The rows of a dataset file, tokenised and checked, through a cache in the work directory."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from local_platform.training.pairs import Pairs
from local_platform.training.render import Renderer
from local_platform.training.rows import Example, Rows, RowsBuilder, load_rows, save_rows
from pilotlight.dataset import iter_rows
from pilotlight.errors import InvalidArgument

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A dataset file and what its tokens depend on."""

    path: Path
    vocabulary: int
    """Rows of the model's embedding table; ids must lie below."""
    cache: Path
    key: str
    """Identifies tokenizer, template and context length."""


def read_examples(source: Source, renderer: Renderer, on_row: Callable[[], None]) -> Rows:
    """All trainable rows of a file. Rows of sample weight 0 [P28] and rows without trained tokens are left out.

    `on_row` is called once per row and may raise to stop. Raises InvalidArgument, with the line, for rows that cannot
    be rendered and for ids outside the vocabulary, and when nothing is left to train on.
    """
    return _through_cache(
        source, "rows", lambda: _trainable(_render_file(source, renderer.examples, on_row), source.path)
    )


def read_pairs(source: Source, renderer: Renderer, on_row: Callable[[], None]) -> Pairs:
    """All trainable pairs of a file, as read_examples reads rows.

    Pairs of weight 0 are left out, and those of which too little lies within the context length to tell the answers
    apart.
    """
    return Pairs(
        _through_cache(source, "pairs", lambda: _comparable(_render_file(source, renderer.pair, on_row), source.path))
    )


def _through_cache(source: Source, kind: str, read: Callable[[], Rows]) -> Rows:
    stat = source.path.stat()
    depends = f"{source.key}:{source.path}:{stat.st_size}:{stat.st_mtime_ns}"
    cached = source.cache / f"{kind}-{hashlib.sha256(depends.encode()).hexdigest()[:16]}.npz"
    if cached.exists():
        return load_rows(cached)
    rows = read()
    source.cache.mkdir(parents=True, exist_ok=True)
    save_rows(rows, cached)
    return rows


def _render_file(
    source: Source, render: Callable[[dict[str, Any], int, int], list[Example]], on_row: Callable[[], None]
) -> Rows:
    builder = RowsBuilder()
    for index, (line, row) in enumerate(iter_rows(source.path)):
        on_row()
        try:
            examples = render(row, index, line)
        except InvalidArgument as error:
            raise InvalidArgument(f"Line {line}: {error.message}", hint=error.hint) from error
        for example in examples:
            if max(example.ids) >= source.vocabulary:
                raise InvalidArgument(
                    f"Line {line}: token id {max(example.ids)} is outside the model's vocabulary of "
                    f"{source.vocabulary}: tokenizer and model do not belong together."
                )
            builder.add(example)
    return builder.build()


def _trainable(rows: Rows, path: Path) -> Rows:
    kept = (rows.trained_counts > 0) & (rows.weights != 0)
    if not kept.any():
        raise InvalidArgument(
            f"No row of {path.name} has a token to train on.",
            hint="Every row needs an assistant message of weight 1 that begins within the context length.",
        )
    if kept.all():
        return rows
    lines = ", ".join(str(line) for line in rows.line[~kept][:10])
    log.warning("%d of %d rows train on nothing and are left out; lines %s", (~kept).sum(), len(rows), lines)
    return rows.select(kept)


def _comparable(rows: Rows, path: Path) -> Rows:
    pairs = Pairs(rows)
    kept = (pairs.counts > 0).all(axis=1) & (pairs.weights > 0)
    kept &= np.array([_differ(rows, 2 * pair) for pair in range(len(pairs))], dtype=np.bool_)
    if not kept.any():
        raise InvalidArgument(
            f"No pair of {path.name} can be learned from.",
            hint="The answers of a pair must differ within the context length, and its weight be positive.",
        )
    if kept.all():
        return rows
    lines = ", ".join(str(line) for line in rows.line[::2][~kept][:10])
    log.warning("%d of %d pairs tell nothing apart and are left out; lines %s", (~kept).sum(), len(pairs), lines)
    return pairs.select(kept).rows


def _differ(rows: Rows, first: int) -> bool:
    """Whether a row and the next one are not the same tokens."""
    (a, b), (c, d) = rows.bounds[first : first + 2]
    return not np.array_equal(rows.ids[a:b], rows.ids[c:d])
