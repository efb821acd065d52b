"""One pass over a dataset: counts, sizes, findings with line numbers. Keeps numbers per row, never text."""

import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.data.conversion import convert
from runner.data.findings import Finding, Findings
from runner.data.rows import Line, answer_of, keys_of, messages_of, read_lines, text_of

ROLES = ("system", "user", "assistant", "tool", "function", "developer")
CHARACTERS_PER_TOKEN = 4.0
TOKENS_PER_MESSAGE = 5
_LABEL_LENGTH = 48
_LABEL = re.compile(r"[^\W_][\w+/&-]{0,23}(?: [\w+/&-]{1,24}){0,2}")
SKETCHED_ROWS = 200_000
"""Rows that are compared by sketch, to bound memory; beyond, near duplicates are those that differ in numbers only."""


@dataclass
class Profile:
    """What a dataset is. The arrays have one entry per usable row, in file order."""

    rows: int = 0
    characters: int = 0
    lines: "array[int]" = field(default_factory=lambda: array("I"))
    groups: "array[int]" = field(default_factory=lambda: array("Q"))
    tokens: "array[int]" = field(default_factory=lambda: array("I"))
    turns: Counter[str] = field(default_factory=Counter[str])
    labels: Counter[str] = field(default_factory=Counter[str])
    labelled: bool = True
    """Whether the answers look like labels: short, and few different ones."""
    conversions: Counter[str] = field(default_factory=Counter[str])
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def usable(self) -> int:
        """Rows that can be trained on."""
        return len(self.lines)

    @property
    def total_tokens(self) -> int:
        """Rough tokens of one pass over the usable rows; BaseFacts.token_scale makes them those of a base model."""
        return sum(self.tokens)


def profile_file(path: Path, broken: dict[int, str]) -> Profile:
    """Profile the chat rows of `path`. `broken` maps line numbers that the format check refused to its reasons."""
    profile, findings, seen = Profile(), Findings(), _Seen()
    for line in read_lines(path):
        profile.rows += 1
        _take(profile, findings, seen, line, broken)
    profile.labelled = bool(profile.labels) and len(profile.labels) <= max(2, profile.usable // 3)
    seen.report(profile, findings)
    profile.findings = findings.listed()
    return profile


def estimate_tokens(messages: list[dict[str, Any]]) -> int:
    """Rough tokens of a conversation, from its characters and the number of its messages."""
    characters = sum(len(text_of(message)) for message in messages)
    return max(1, round(characters / CHARACTERS_PER_TOKEN + TOKENS_PER_MESSAGE * len(messages)))


def is_label(answer: str) -> bool:
    """Whether an answer may be shown as a label: one to three bare words. Anything longer could say something."""
    return _LABEL.fullmatch(answer) is not None


class _Seen:
    """First lines of what occurred, to tell repetitions."""

    def __init__(self) -> None:
        self.exact: dict[int, int] = {}
        self.shapes: dict[int, int] = {}
        self.answers: dict[int, tuple[int, int]] = {}
        self.noise: list[tuple[int, int]] = []
        self.short: list[int] = []

    def report(self, profile: Profile, findings: Findings) -> None:
        if profile.labelled:
            for line, first in self.noise:
                findings.add("label_noise", "warning", line, f"same input as line {first}, another answer")
        else:
            for line in self.short:
                findings.add("short_answer", "info", line, "the answer has fewer than 3 characters")


def _take(profile: Profile, findings: Findings, seen: _Seen, line: Line, broken: dict[int, str]) -> None:
    if line.number in broken or line.value is None:
        reason = broken.get(line.number, "not a JSON object")
        findings.add("broken_row", "error", line.number, reason)
        return
    row, done = convert(line.value)
    problem = _check_roles(row)
    if problem:
        findings.add("role_error", "error", line.number, problem)
        return
    profile.conversions.update(done)
    answer = answer_of(row)
    if answer is not None and not answer.strip():
        findings.add("empty_answer", "error", line.number, "the last assistant message is empty")
        return
    _note_repetition(profile, findings, seen, line.number, row, answer or "")
    messages = messages_of(row)
    profile.lines.append(line.number)
    profile.tokens.append(estimate_tokens(messages))
    profile.characters += sum(len(text_of(message)) for message in messages)
    profile.turns["multi-turn" if sum(m.get("role") == "user" for m in messages) > 1 else "single-turn"] += 1


def _check_roles(row: dict[str, Any]) -> str:
    messages = messages_of(row)
    if not messages:
        return "no messages"
    for place, message in enumerate(messages, 1):
        role = message.get("role")
        if role not in ROLES:
            return f"message {place} has an unknown role"
        if role == "system" and place != 1:
            return f"message {place} is a system message, which must be the first"
    if not any(message.get("role") == "assistant" for message in messages):
        return "no assistant message and no ground_truth: nothing to learn"
    return ""


def _note_repetition(
    profile: Profile, findings: Findings, seen: _Seen, number: int, row: dict[str, Any], answer: str
) -> None:
    keys = keys_of(row, sketch=profile.usable < SKETCHED_ROWS)
    profile.groups.append(keys.group)
    if first := seen.exact.get(keys.exact):
        findings.add("exact_duplicate", "warning", number, f"the same as line {first}")
    elif first := next((seen.shapes[key] for key in keys.alike if key in seen.shapes), None):
        findings.add("near_duplicate", "info", number, f"almost the same as line {first}")
    seen.exact.setdefault(keys.exact, number)
    for key in keys.alike:
        seen.shapes.setdefault(key, number)
    _note_label(profile, seen, number, keys.prompt, answer.strip())


def _note_label(profile: Profile, seen: _Seen, number: int, prompt: int, answer: str) -> None:
    if 0 < len(answer) < 3:
        seen.short.append(number)
    if not profile.labelled:
        return
    if len(answer) > _LABEL_LENGTH or len(profile.labels) > 2000:
        profile.labelled = False
        profile.labels.clear()
        seen.answers.clear()
        seen.noise.clear()
        return
    profile.labels[answer] += 1
    first, label = seen.answers.setdefault(prompt, (number, hash(answer)))
    if label != hash(answer):
        seen.noise.append((number, first))
