"""Text of messages stays text: a control token that a row or a request spells out does not become one.

Chat templates write control tokens such as `<|im_start|>` themselves. The same characters in a message would be read as
that token, and a row could open a turn of another role. So they are masked before the template, character by character,
and encoded apart from it.
"""

import re
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

_FIRST = 0xF0000
"""Start of a private use plane: no text has a meaning there."""


class Encoded:
    """Token ids with the characters they come from, as `tokenizers.Encoding` has them."""

    def __init__(self, ids: list[int], offsets: list[tuple[int, int]]) -> None:
        self.ids, self._offsets = ids, offsets

    def char_to_token(self, place: int) -> int | None:
        """The first token of a character, None when it has none."""
        return next((token for token, (start, end) in enumerate(self._offsets) if start <= place < end), None)

    def token_to_chars(self, token: int) -> tuple[int, int]:
        """The characters of a token."""
        return self._offsets[token]


class ContentEncoder:
    """Masks messages before the template and encodes the template's text after it, for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder().values()
        self._spelled = sorted((token.content for token in added if token.special), key=len, reverse=True)
        self._search = re.compile("|".join(map(re.escape, self._spelled)) or r"(?!)")
        self._masked = re.compile(f"[{chr(_FIRST)}-{chr(_FIRST + len(self._spelled))}]")

    def mask(self, value: Any) -> Any:
        """`value` (any JSON) with every control token in its texts masked; lengths stay the same."""
        if isinstance(value, str):
            return self._search.sub(self._hide, value)
        if isinstance(value, dict):
            return {key: self.mask(inner) for key, inner in value.items()}
        return [self.mask(inner) for inner in value] if isinstance(value, list) else value

    def unmask(self, text: str) -> str:
        """The text as it was written."""
        return "".join(piece for piece, _ in self._pieces(text))

    def is_masked(self, text: str) -> bool:
        """Whether there is anything to unmask."""
        return self._masked.search(text) is not None

    def encode(self, text: str) -> Any:
        """Token ids and offsets of a template's text: control tokens where the template wrote them, and only there."""
        if not self.is_masked(text):
            return self._tokenizer.encode(text, add_special_tokens=False)
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        done = 0
        for piece, hidden in self._pieces(text):
            found = (self._literal if hidden else self._tokenizer).encode(piece, add_special_tokens=False)
            ids += found.ids
            offsets += [(start + done, end + done) for start, end in found.offsets]
            done += len(piece)
        return Encoded(ids, offsets)

    @cached_property
    def _literal(self) -> Tokenizer:
        literal = Tokenizer.from_str(self._tokenizer.to_str())
        literal.encode_special_tokens = True
        return literal

    def _hide(self, match: re.Match[str]) -> str:
        return chr(_FIRST + self._spelled.index(match[0])) * len(match[0])

    def _pieces(self, text: str) -> list[tuple[str, bool]]:
        """(text, whether it was masked), in order."""
        pieces: list[tuple[str, bool]] = []
        done = place = 0
        while found := self._masked.search(text, place):
            number = ord(found[0]) - _FIRST
            word = self._spelled[number] if number < len(self._spelled) else ""
            place = found.start() + max(1, len(word))
            if word and text.startswith(found[0] * len(word), found.start()):
                pieces += [(text[done : found.start()], False), (word, True)]
                done = place
            else:  # the row itself has such a character
                place = found.start() + 1
        return [piece for piece in (*pieces, (text[done:], False)) if piece[0]]
