"""Normal forms of what people type: one kind of quote and dash, single spaces, clauses, negation."""

import re
import unicodedata

MAX_CHARACTERS = 8_000
"""More than anybody types; the rest of a longer text is not read."""
_TABLE = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": " - ",
        "\u2212": "-",
        "\u00d7": "x",
        "\u00a0": " ",
    }
)
_NEGATION = re.compile(
    r"\b(?:don'?t|do not|does not|doesn'?t|never|not|no(?!,)|without|avoid|instead of|rather than|except|other than"
    r"|excluding"
    r"|no need to|refrain from|mustn'?t|must not|shouldn'?t|should not|won'?t|isn'?t|neither|nor)\b"
)
NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
} | {"a": 1, "an": 1, "single": 1, "dozen": 12}


def normalise(text: str) -> str:
    """Compatibility-composed, plain quotes and dashes, no control characters, runs of spaces collapsed."""
    plain = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).translate(_TABLE)
    plain = "".join(
        " " if unicodedata.category(character) in ("Cc", "Cf") and character != "\n" else character
        for character in plain
    )
    return re.sub(r"[ \t]+", " ", plain).strip()


def clause_before(text: str, position: int) -> str:
    """The words of the same clause before `position`, lower case."""
    start = max(text.rfind(mark, 0, position) for mark in (". ", "; ", "\n", "! ", "? ", ", but ", " - ", ": "))
    return text[start + 1 : position].lower()


def negated(text: str, position: int, reach: int = 5) -> bool:
    """Whether a negation stands in the last `reach` words of the clause before `position`."""
    words = clause_before(text, position).split()
    return bool(_NEGATION.search(" ".join(words[-reach:])))


def sentence_after(text: str, position: int) -> str:
    """From `position` to the end of its sentence; a point inside a number or a name does not end it."""
    match = re.compile(r"[.!?](?=\s|$)|\n").search(text, position)
    return text[position : match.start() if match else len(text)].strip()
