"""The AIP-160 subset: AND, OR, NOT, `-`, parentheses, = != < <= > >= : and quoted strings [P15].

As AIP-160 says, OR binds tighter than AND, and terms side by side are joined by AND. `field:*` tests presence, `:` is
"has" (list element, map key, or part of a text), `*` in an `=` value is a wildcard. At most 2 KB and 10 levels deep.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from pilotlight.errors import InvalidArgument
from pilotlight.listing.fields import check_known, check_path
from pilotlight.listing.tree import Either, Every, Filter, Negation, Restriction

MAX_BYTES, MAX_DEPTH = 2048, 10

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<op><=|>=|!=|=|<|>|:)
    |(?P<paren>[()])
    |(?P<minus>-(?=[\s(A-Za-z_"']))
    |(?P<word>[^\s()"'=<>!:]+)
    )""",
    re.VERBOSE | re.DOTALL,
)

_VALUE = re.compile(r"""\s*(?P<word>[^\s()"'=<>!:][^\s()"'=<>!]*)""")
"""After an operator a bare word may hold colons, as times do."""


class _Token(NamedTuple):
    kind: str
    text: str


def parse_filter(text: str, fields: Collection[str] | None = None) -> Filter:
    """Parse a filter to a predicate over wire dictionaries; an empty one accepts all.

    `fields` is the allow-list of first segments in camelCase. Raises InvalidArgument saying where it went wrong.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise InvalidArgument("The filter is longer than 2048 bytes.", hint="Write a shorter filter.")
    if not text.strip():
        return Every(())
    return _Parser(_tokenise(text), fields).parse()


def _tokenise(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        after_operator = bool(tokens) and tokens[-1].kind == "op"
        match = (_VALUE.match(text, position, end) if after_operator else None) or _TOKEN.match(text, position, end)
        if not match or match.lastgroup is None:
            raise _malformed(f"unexpected {text[position : position + 20].strip()!r}")
        tokens.append(_Token(match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent over: expression = disjunction (AND? disjunction)*; disjunction = term (OR term)*."""

    def __init__(self, tokens: list[_Token], fields: Collection[str] | None) -> None:
        self.tokens, self.fields, self.position = tokens, fields, 0

    def parse(self) -> Filter:
        predicate = self._expression(0)
        if self.position < len(self.tokens):
            raise _malformed(f"unexpected {self.tokens[self.position].text[:40]!r}")
        return predicate

    def _expression(self, depth: int) -> Filter:
        parts = [self._disjunction(depth)]
        while self.position < len(self.tokens) and self._peek().text != ")":
            if self._is_word("AND"):
                self.position += 1
            parts.append(self._disjunction(depth))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _disjunction(self, depth: int) -> Filter:
        parts = [self._term(depth)]
        while self._is_word("OR"):
            self.position += 1
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _term(self, depth: int) -> Filter:
        if depth >= MAX_DEPTH:
            raise _malformed(f"nested deeper than {MAX_DEPTH} levels")
        if self._is_word("NOT") or self._peek().kind == "minus":
            self.position += 1
            return Negation(self._term(depth + 1))
        if self._peek() == _Token("paren", "("):
            self.position += 1
            inner = self._expression(depth + 1)
            if self._peek().text != ")":
                raise _malformed("a '(' is not closed")
            self.position += 1
            return inner
        return self._restriction()

    def _restriction(self) -> Filter:
        field, operator = self._take(), self._peek()
        if field.kind != "word" or operator.kind != "op":
            raise _malformed(f"expected `field = value` near {field.text[:40]!r}")
        self.position += 1
        literal = self._take()
        if literal.kind not in ("string", "word", "minus"):
            raise _malformed(f"a value is missing after {field.text[:40]!r} {operator.text}")
        path = check_path(field.text, "filter")
        check_known(path, self.fields, "filter")
        quoted = literal.kind == "string"
        value = re.sub(r"\\(.)", r"\1", literal.text[1:-1], flags=re.DOTALL) if quoted else literal.text
        return Restriction(path, operator.text, value, quoted)

    def _peek(self) -> _Token:
        return self.tokens[self.position] if self.position < len(self.tokens) else _Token("end", "")

    def _take(self) -> _Token:
        token = self._peek()
        self.position += 1
        return token

    def _is_word(self, word: str) -> bool:
        return self._peek() == _Token("word", word)


def _malformed(reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"Invalid filter: {reason}.", hint='Example: state = "READY" AND create_time > "2026-01-01T00:00:00Z".'
    )
