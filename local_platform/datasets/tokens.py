"""How many tokens a dataset has for each base model: a sample of its rows, counted with the model's own tokenizer."""

from functools import lru_cache
from pathlib import Path

from sqlmodel import col, select
from tokenizers import Tokenizer

from local_platform.context import Platform
from local_platform.tables import ModelRow
from pilotlight.dataset import ScanReport, iter_rows

SAMPLE_ROWS = 256
TOKENS_PER_MESSAGE = 5
"""What a chat template adds around each message, as ChatML does."""


def estimate_tokens(platform: Platform, file: Path, report: ScanReport) -> dict[str, int]:
    """Tokens of the whole file by base model name, extrapolated from about 256 rows by their characters."""
    texts = _sample(file, report.rows)
    characters = sum(map(len, texts))
    if not characters:
        return {}
    around = TOKENS_PER_MESSAGE * report.messages
    return {
        name: round(report.characters * _count(tokenizer, texts) / characters) + around
        for name, tokenizer in _list_tokenizers(platform)
    }


def _sample(file: Path, rows: int) -> list[str]:
    every = max(1, rows // SAMPLE_ROWS)
    chosen = (row for place, (_, row) in enumerate(iter_rows(file)) if place % every == 0)
    messages = (message for row in chosen for message in row.get("messages") or [])
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
