"""How many tokens a dataset has for each base model: a sample of its rows, counted with the model's own tokenizer.

Counted is what one epoch of training reads. Of a preference pair that is both conversations, so its prompt twice.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlmodel import col, select
from tokenizers import Tokenizer

from local_platform.context import Platform
from local_platform.tables import ModelRow
from pilotlight.dataset import ScanReport, is_pair, iter_rows, read_pair

SAMPLE_ROWS = 256
TOKENS_PER_MESSAGE = 5
"""What a chat template adds around each message, as ChatML does."""


def estimate_tokens(platform: Platform, file: Path, report: ScanReport) -> dict[str, int]:
    """Tokens of the whole file by base model name, extrapolated from about 256 rows by their characters."""
    written: list[str] = []
    read: list[str] = []
    for row in _sample(file, report.rows):
        written += _texts(_written(row))
        read += _texts(_read(row))
    characters = sum(map(len, written))
    if not characters:
        return {}
    around = TOKENS_PER_MESSAGE * report.messages * len(read) // len(written)
    return {
        name: round(report.characters * _count(tokenizer, read) / characters) + around
        for name, tokenizer in _list_tokenizers(platform)
    }


def _sample(file: Path, rows: int) -> Iterator[dict[str, Any]]:
    every = max(1, rows // SAMPLE_ROWS)
    return (row for place, (_, row) in enumerate(iter_rows(file)) if place % every == 0)


def _written(row: dict[str, Any]) -> list[Any]:
    """The messages of a row, as often as they stand in it."""
    if "input" not in row:
        return _read(row)
    pair = read_pair(row)
    return [*pair.prompt, pair.preferred, pair.other]


def _read(row: dict[str, Any]) -> list[Any]:
    """The messages of a row, as often as training reads them."""
    if not is_pair(row):
        return row.get("messages") or []
    pair = read_pair(row)
    return [*pair.prompt, pair.preferred, *pair.prompt, pair.other]


def _texts(messages: list[Any]) -> list[str]:
    return [message["content"] for message in messages if isinstance(message.get("content"), str)]


def _list_tokenizers(platform: Platform) -> list[tuple[str, Tokenizer]]:
    with platform.reading() as db:
        rows = db.exec(select(ModelRow).where(col(ModelRow.state) == "READY")).all()
    bases = [row for row in rows if row.body.get("kind") == "HF_BASE_MODEL" and row.body.get("_directory")]
    files = [(row.name, Path(row.body["_directory"]) / "tokenizer.json") for row in bases]
    return [(name, _load(file)) for name, file in files if file.is_file()]


@lru_cache(maxsize=8)
def _load(file: Path) -> Tokenizer:
    return Tokenizer.from_file(str(file))


def _count(tokenizer: Tokenizer, texts: list[str]) -> int:
    return sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False))
