"""Rules for preference pairs, on top of those for their conversations [P33, P34]."""

from typing import Any, cast

from pilotlight.dataset.content import kind_of
from pilotlight.dataset.conversation import Conversation
from pilotlight.dataset.pairs import CONVERSATIONS, OUTPUTS, Message, read_pair
from pilotlight.dataset.report import ScanReport
from pilotlight.dataset.tools import check_tools
from pilotlight.errors import InvalidArgument


class PairChecker:
    """Checks pair after pair, noting findings in a report."""

    def __init__(self, report: ScanReport, conversation: Conversation) -> None:
        self.report, self.conversation = report, conversation

    def check(self, line: int, row: dict[str, Any]) -> None:
        """Note all that is wrong with one pair."""
        before = self.report.errors
        if any(field in row for field in CONVERSATIONS):
            if any(field in row for field in ("input", *OUTPUTS)):
                self.report.note(line, "mixed_pair_fields")
            for field in CONVERSATIONS:
                self._check_conversation(line, row.get(field), field)
        else:
            self._check_prompt(line, row.get("input"))
            for field in OUTPUTS:
                self._check_output(line, row.get(field), field)
        weight = row.get("weight")
        if isinstance(weight, int | float) and weight < 0:
            self.report.note(line, "negative_weight")
        if self.report.errors == before:
            self._compare(line, row)

    def _check_prompt(self, line: int, side: Any) -> None:
        roles = self._check_messages(line, side, "input")
        if roles and roles[-1] == "assistant":
            self.report.note(line, "prompt_answered")
        elif roles and "user" not in roles and "" not in roles:
            self.report.note(line, "missing_user")

    def _check_conversation(self, line: int, side: Any, field: str) -> None:
        roles = self._check_messages(line, side, field)
        if roles and roles[-1] not in ("assistant", ""):
            self.report.note(line, "preference_pair", f"{field} does not end with an assistant message")
        elif len(roles) == 1:
            self.report.note(line, "preference_pair", f"{field} has no message before the answer")
        elif roles[-2:-1] == ["assistant"]:
            self.report.note(line, "prompt_answered", field)

    def _check_messages(self, line: int, side: Any, field: str) -> list[str]:
        if not isinstance(side, dict) or "messages" not in side:
            self.report.note(line, "preference_pair", f"{field} is not an object with messages")
            return []
        fields = cast("Message", side)
        declared, problem = check_tools(fields.get("tools"))
        if problem:
            self.report.note(line, *problem)
        self.report.tool_rows += bool(declared)
        return self.conversation.check(line, fields["messages"], declared, f"{field}.messages")

    def _check_output(self, line: int, output: Any, field: str) -> None:
        items = cast("list[Any]", output if isinstance(output, list) else [output] if isinstance(output, dict) else [])
        if len(items) != 1:
            found = f"a list of {len(items)}" if isinstance(output, list) else kind_of(output)
            self.report.note(line, "preference_pair", f"{field} is {found}")
            return
        roles = self.conversation.check(line, items, set(), field)
        if roles not in (["assistant"], [""]):
            self.report.note(line, "preference_pair", f"{field} is not an assistant message")

    def _compare(self, line: int, row: dict[str, Any]) -> None:
        """What only a pair that can be read may have wrong."""
        try:
            pair = read_pair(row)
        except InvalidArgument:
            self.report.note(line, "differing_prompts")
            return
        if _told(pair.preferred) == _told(pair.other):
            self.report.note(line, "equal_pair")
        elif _squeeze(pair.preferred) == _squeeze(pair.other):
            self.report.note(line, "almost_equal_pair")


def _told(message: Message) -> Message:
    """What the model learns to say; weights and names are not said."""
    said = ("content", "tool_calls", "reasoning_content")
    return {field: message[field] for field in said if message.get(field)}


def _squeeze(message: Message) -> Message:
    """The same without a difference in white space."""
    return {field: " ".join(said.split()) if isinstance(said, str) else said for field, said in _told(message).items()}
