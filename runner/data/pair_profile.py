"""One pass over preference pairs: sizes, repetitions, contradictions. Keeps numbers per pair, never text."""

import hashlib
import re
from pathlib import Path
from typing import Any

from pilotlight.dataset import Pair, is_pair, prompt_key, read_pair
from pilotlight.plan import canonical_json
from runner.data.findings import Findings
from runner.data.profile import Profile, estimate_tokens
from runner.data.rows import read_lines, text_of

_WORD = re.compile(r"\w+")


def profile_pairs(path: Path, broken: dict[int, str]) -> tuple[Profile, float]:
    """The profile, and the share of pairs whose preferred answer is the longer one.

    Tokens are those that training reads: of both conversations, so of the prompt twice. Pairs whose prompts are equal
    but for case and punctuation form one group. `broken` maps line numbers that the format check refused to reasons.
    """
    profile, findings, seen, longer = Profile(labelled=False), Findings(), _Seen(), 0.0
    for line in read_lines(path):
        profile.rows += 1
        row = line.value
        if line.number in broken or row is None or not is_pair(row):
            findings.add("broken_row", "error", line.number, broken.get(line.number, "not a preference pair"))
            continue
        pair = read_pair(row)
        seen.note(findings, line.number, row, pair)
        profile.lines.append(line.number)
        profile.groups.append(_hash(" ".join(_words(pair))))
        both = both_sides(row)
        profile.tokens.append(sum(map(estimate_tokens, both)))
        profile.characters += sum(len(text_of(message)) for messages in both for message in messages)
        profile.turns["multi-turn" if sum(m.get("role") == "user" for m in pair.prompt) > 1 else "single-turn"] += 1
        first, second = len(text_of(pair.preferred)), len(text_of(pair.other))
        longer += (first > second) + (first == second) / 2
    profile.findings = findings.listed()
    return profile, longer / max(1, profile.usable)


def both_sides(row: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The two conversations of a pair."""
    pair = read_pair(row)
    return [[*pair.prompt, pair.preferred], [*pair.prompt, pair.other]]


class _Seen:
    """First lines of what occurred, to tell repetitions."""

    def __init__(self) -> None:
        self.rows: dict[int, int] = {}
        self.preferred: dict[int, int] = {}
        self.rejected: dict[int, int] = {}

    def note(self, findings: Findings, number: int, row: dict[str, Any], pair: Pair) -> None:
        key = prompt_key(row)
        better, worse = (_hash(f"{key} {text_of(answer)}") for answer in (pair.preferred, pair.other))
        exact = _hash(canonical_json([better, worse]))
        if first := self.rows.get(exact):
            findings.add("exact_duplicate", "warning", number, f"the same as line {first}")
        elif first := self.rejected.get(better) or self.preferred.get(worse):
            findings.add("contradiction", "warning", number, f"contradicts line {first}")
        self.rows.setdefault(exact, number)
        self.preferred.setdefault(better, number)
        self.rejected.setdefault(worse, number)


def _words(pair: Pair) -> list[str]:
    spoken = [message for message in pair.prompt if message.get("role") != "system"]
    return _WORD.findall(" ".join(text_of(message) for message in spoken).casefold())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
