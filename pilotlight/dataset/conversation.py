"""Rules for `messages`: roles, contents, weights, reasoning and tool calls [P26-P32]."""

from typing import Any, cast

from pilotlight.dataset.content import kind_of, quote, read_content
from pilotlight.dataset.report import ScanReport
from pilotlight.dataset.tools import check_calls

ROLES = frozenset({"system", "user", "assistant", "tool"})
_FIELDS = frozenset({"role", "content", "name", "weight", "tool_calls", "tool_call_id", "reasoning_content"})
_NOT_ROLES = {
    "human": "'human' is 'user' here",
    "gpt": "'gpt' is 'assistant' here",
    "bot": "'bot' is 'assistant' here",
    "model": "'model' is 'assistant' here",
    "developer": "'developer' is 'system' here",
    "function": "'function' is 'tool' here",
}
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Conversation:
    """Checks the messages of one row after another, noting findings and counts in a report."""

    def __init__(self, report: ScanReport) -> None:
        self.report = report
        self.roles = report.roles

    def check(self, line: int, messages: Any, declared: set[str], field: str = "messages") -> list[str]:
        """Note all that is wrong with a list of messages; returns the roles that could be read, in order."""
        if not isinstance(messages, list):
            self.report.note(line, "messages_type", f"{field} is {kind_of(messages)}")
            return []
        items = cast("list[Any]", messages)
        if not items:
            self.report.note(line, "empty_messages", "" if field == "messages" else field)
            return []
        self.report.messages += len(items)
        roles = [self._check_message(line, item, declared, f"{field}[{at}]") for at, item in enumerate(items)]
        self._check_order(line, roles, field)
        self._check_weights(line, items)
        return roles

    def _check_message(self, line: int, message: Any, declared: set[str], where: str) -> str:
        if not isinstance(message, dict):
            self.report.note(line, "messages_type", f"{where} is {kind_of(message)}")
            return ""
        fields = cast("dict[str, Any]", message)
        role = self._check_role(line, fields, where)
        # Nearly all messages are a known role and a plain text.
        content = fields.get("content")
        if len(fields) > 2 or type(content) is not str:
            self._check_fields(line, fields, role, declared, where)
            return role
        self._check_text(line, content, where)
        return role

    def _check_role(self, line: int, fields: dict[str, Any], where: str) -> str:
        role = fields.get("role")
        if role is None:
            self.report.note(line, "missing_role", where)
            return ""
        if not isinstance(role, str) or role not in ROLES:
            known = _NOT_ROLES.get(role.lower()) if isinstance(role, str) else None
            self.report.note(line, "unknown_role", known or f"{where}.role is {quote(role)}")
            return ""
        self.roles[role] += 1
        return role

    def _check_text(self, line: int, text: str, where: str) -> None:
        self.report.characters += len(text)
        if not text:
            self.report.note(line, "empty_content", where)
        elif text.isspace():
            self.report.note(line, "blank_content", where)
        elif _REPLACEMENT in text:
            self.report.note(line, "replacement_character", where)

    def _check_fields(self, line: int, fields: dict[str, Any], role: str, declared: set[str], where: str) -> None:
        for name in fields.keys() - _FIELDS:
            self.report.note(line, "unknown_field", f"{where}.{quote(name)[1:-1]}")
        calls = fields.get("tool_calls")
        if calls is not None:
            self._check_calls(line, calls, role, declared, where)
        self._check_reasoning(line, fields.get("reasoning_content"), role, where)
        self._check_content(line, fields.get("content"), bool(calls) or bool(fields.get("reasoning_content")), where)
        weight = fields.get("weight")
        if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
            self.report.note(line, "message_weight", f"{where}.weight is {quote(weight)}")
        elif weight is not None and role not in ("assistant", ""):
            self.report.note(line, "weight_ignored", where)

    def _check_calls(self, line: int, calls: Any, role: str, declared: set[str], where: str) -> None:
        if role != "assistant":
            self.report.note(line, "tool_calls", f"{where} is not an assistant message")
        for code, detail in check_calls(calls, declared, where):
            self.report.note(line, code, detail)

    def _check_reasoning(self, line: int, reasoning: Any, role: str, where: str) -> None:
        if reasoning is None:
            return
        if not isinstance(reasoning, str) or role != "assistant":
            problem = kind_of(reasoning) if role == "assistant" else f"on a message of role {role or 'unknown'}"
            self.report.note(line, "reasoning_content", f"{where}.reasoning_content is {problem}")
        else:
            self.report.characters += len(reasoning)

    def _check_content(self, line: int, value: Any, optional: bool, where: str) -> None:
        if value is None or (optional and value == ""):
            if not optional:
                self.report.note(line, "missing_content", where)
            return
        content = read_content(value, where)
        if content.code:
            self.report.note(line, content.code, content.detail)
            return
        if content.images:
            self.report.note(line, "image_part", where)
        if content.text or not content.images:
            self._check_text(line, content.text, where)

    def _check_order(self, line: int, roles: list[str], field: str) -> None:
        if "system" in roles[1:]:
            self.report.note(line, "system_not_first", f"{field}[{roles.index('system', 1)}]")
        called = False
        for at, role in enumerate(roles):
            if role == "tool" and not called:
                self.report.note(line, "tool_without_call", f"{field}[{at}]")
            elif at and role == roles[at - 1] and role in ("user", "assistant"):
                self.report.note(line, "repeated_role", f"{field}[{at - 1}] and [{at}] are both {role}")
            called = role == "assistant" or (called and role == "tool")

    def _check_weights(self, line: int, items: list[Any]) -> None:
        answers = [item for item in items if isinstance(item, dict) and item.get("role") == "assistant"]
        if answers and all(item.get("weight") == 0 and item.get("weight") is not False for item in answers):
            self.report.note(line, "nothing_learned")
