"""Token IDs to text and back, for one tokenizer."""

import codecs
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from local_platform.content import ContentEncoder


class Vocabulary:
    """A Hugging Face tokenizer; gives exact bytes per token where it is byte-level BPE (Qwen, Llama 3, GPT-2)."""

    def __init__(self, directory: Path) -> None:
        # Here and not above: the routes know this class, and a platform should answer seconds before it needs torch.
        from transformers import AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        added = self.tokenizer.added_tokens_decoder.items()
        named: list[int] = self.tokenizer.all_special_ids
        self.special_ids = frozenset([*named, *(token for token, form in added if form.special)])
        self.content = ContentEncoder(self.tokenizer.backend_tokenizer)
        self._bytes: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self.tokenizer)

    def encode(self, text: str) -> list[int]:
        """IDs with the tokenizer's own special tokens (a BOS where the model wants one)."""
        return self.tokenizer(text)["input_ids"]

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """Text of `ids`; broken UTF-8 becomes U+FFFD."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=skip_special, clean_up_tokenization_spaces=False)

    @cached_property
    def byte_level(self) -> bool:
        """Whether tokens are byte strings, so that text can be assembled without asking the tokenizer."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        decoder = json.loads(backend.to_str()).get("decoder") if backend is not None else None
        return bool(decoder) and decoder["type"] == "ByteLevel"

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; for tokenizers that are not byte-level, the UTF-8 of its decoded text."""
        if token not in self._bytes:
            self._bytes[token] = self._spell(token)
        return self._bytes[token]

    def token_text(self, token: int) -> str:
        """Display text of one token: part of a character shows as U+FFFD."""
        return self.token_bytes(token).decode(errors="replace")

    def _spell(self, token: int) -> bytes:
        piece = self.tokenizer.convert_ids_to_tokens(token)
        if piece is None:  # the embedding is often padded beyond the vocabulary
            return b""
        if not self.byte_level:
            return self.decode([token], skip_special=False).encode()
        table = _byte_table()
        return bytes(table[c] for c in piece) if all(c in table for c in piece) else piece.encode()


class TextStream:
    """Assembles text token by token; `push` returns the characters that became final.

    Byte-level tokens go through an incremental UTF-8 decoder, so the result equals decoding all bytes at once. Other
    tokenizers are decoded in a sliding window that waits while a character may still be incomplete.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if vocabulary.byte_level else None
        self._window: list[int] = []
        self._read = 0

    def push(self, token: int) -> str:
        """Special tokens add nothing."""
        if token in self._vocabulary.special_ids:
            return ""
        if self._decoder is not None:
            return self._decoder.decode(self._vocabulary.token_bytes(token))
        self._window.append(token)
        return self._slide(final=False)

    def flush(self) -> str:
        """The rest, at the end: what is incomplete becomes U+FFFD."""
        return self._decoder.decode(b"", True) if self._decoder is not None else self._slide(final=True)

    def _slide(self, *, final: bool) -> str:
        shown = self._vocabulary.decode(self._window[: self._read])
        text = self._vocabulary.decode(self._window)
        if not final and text.endswith("\ufffd"):
            return ""
        self._window, self._read = self._window[self._read :], len(self._window) - self._read
        return text[len(shown) :]


def _byte_table() -> dict[str, int]:
    """The printable stand-ins that byte-level BPE uses for the 256 bytes."""
    if not _TABLE:
        plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = [byte for byte in range(256) if byte not in set(plain)]
        _TABLE.update({chr(byte): byte for byte in plain})
        _TABLE.update({chr(256 + rank): byte for rank, byte in enumerate(others)})
    return _TABLE


_TABLE: dict[str, int] = {}
