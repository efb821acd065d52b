"""Rules for a whole row: which format it has, its weight, and what must hold for all rows together [P24-P35]."""

import math
from typing import Any

from pilotlight.dataset.content import kind_of, quote
from pilotlight.dataset.conversation import Conversation
from pilotlight.dataset.pair_rules import PairChecker
from pilotlight.dataset.pairs import CONVERSATIONS, OUTPUTS, is_pair
from pilotlight.dataset.report import KEPT, RowKind, ScanReport, Severity
from pilotlight.dataset.tools import check_tools

_FIELDS = {
    RowKind.CHAT: frozenset({"messages", "tools", "weight", "ground_truth"}),
    RowKind.PREFERENCE: frozenset({"input", *OUTPUTS, *CONVERSATIONS, "weight"}),
}
_FOREIGN = {
    "conversations": "'conversations' is the ShareGPT format",
    "prompt": "prompt and completion are not a training format here",
    "instruction": "instruction and output are the Alpaca format",
    "text": "plain text is not a training format here",
    "custom_id": "this is a row of batch inference",
    "contents": "'contents' is the Gemini format",
}


class RowChecker:
    """Checks row after row; `finish` adds what only the whole file can tell."""

    def __init__(self, report: ScanReport) -> None:
        self.report = report
        self.conversation = Conversation(report)
        self.pairs = PairChecker(report, self.conversation)
        self.answered = 0
        self.unanswered: list[int] = []
        self.unanswered_count = 0
        self.unweighted: list[int] = []
        self.unweighted_count = 0

    def check(self, line: int, row: dict[str, Any]) -> None:
        """Note all that is wrong with one row."""
        if "messages" in row:
            self._check_format(line, RowKind.CHAT)
            self._check_chat(line, row)
        elif is_pair(row):
            self._check_format(line, RowKind.PREFERENCE)
            self._check_extras(line, row, RowKind.PREFERENCE)
            self.pairs.check(line, row)
        else:
            detail = next((_FOREIGN[name] for name in row if name in _FOREIGN), "")
            self.report.note(line, "missing_messages", detail)
        self._check_weight(line, row)

    def finish(self, plain: int, first_plain: list[int]) -> None:
        """Settle the kind of the dataset, and weights and answers that must be on all rows or on none.

        `plain` is how many rows beside those checked here have an answer and no weight, `first_plain` their first
        lines.
        """
        report = self.report
        self.answered += plain
        if self.answered:
            for line in self.unanswered:
                report.note(line, "missing_assistant")
            report.count_more("missing_assistant", self.unanswered_count - len(self.unanswered))
        if report.kind is RowKind.CHAT and not self.answered:
            report.kind = RowKind.PROMPT
        if report.weighted_rows:
            unweighted = sorted([*self.unweighted, *first_plain])[: KEPT[Severity.ERROR]]
            for line in unweighted:
                report.note(line, "mixed_weights")
            report.count_more("mixed_weights", self.unweighted_count + plain - len(unweighted))

    def _check_format(self, line: int, kind: RowKind) -> None:
        if self.report.kind is None:
            self.report.kind = kind
        elif self.report.kind is not kind:
            self.report.note(line, "mixed_formats", f"this row is {kind}, the first is {self.report.kind}")

    def _check_chat(self, line: int, row: dict[str, Any]) -> None:
        declared = self._check_extras(line, row, RowKind.CHAT)
        before = self.report.counts["image_part"]
        messages = row["messages"]
        roles = self.conversation.check(line, messages, declared)
        self.report.image_rows += self.report.counts["image_part"] > before
        if not roles:
            return
        if "assistant" in roles:
            self.answered += 1
            self._check_answered(line, roles, messages)
        else:
            self.unanswered_count += 1
            if len(self.unanswered) < KEPT[Severity.ERROR]:
                self.unanswered.append(line)

    def _check_answered(self, line: int, roles: list[str], messages: list[Any]) -> None:
        if roles[-1] not in ("assistant", ""):
            self.report.note(line, "ends_without_assistant", f"it is {roles[-1]}")
        if "user" not in roles and "" not in roles:
            self.report.note(line, "missing_user")
        self.report.reasoning_rows += any(
            isinstance(item, dict) and bool(item.get("reasoning_content")) for item in messages
        )

    def _check_extras(self, line: int, row: dict[str, Any], kind: RowKind) -> set[str]:
        if len(row) == 1:
            return set()
        for name in row.keys() - _FIELDS[kind]:
            self.report.note(line, "unknown_field", quote(name))
        declared, problem = check_tools(row.get("tools"))
        if problem:
            self.report.note(line, *problem)
        self.report.tool_rows += bool(declared)
        return declared

    def _check_weight(self, line: int, row: dict[str, Any]) -> None:
        if "weight" not in row:
            self.unweighted_count += 1
            if len(self.unweighted) < KEPT[Severity.ERROR]:
                self.unweighted.append(line)
            return
        weight = row["weight"]
        self.report.weighted_rows += 1
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            self.report.note(line, "sample_weight", f"it is {kind_of(weight)}")
