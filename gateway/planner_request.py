"""The closed grammar of the planner's model calls: text, its own tools, thinking, and nothing that reaches out.

No server tools, no MCP servers, no files, images or URLs, no cache longer than five minutes, no other service tier:
each would cost more than tokens, or lead somewhere else.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from manifest.facts import Verdict

METHOD = "CreatePlannerMessage"
VERSIONS = ("2023-06-01", "2026-10-21")
"""Versions of the Messages API whose answers the gateway reads; the first one is the default."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _CacheControl(_Closed):
    type: Literal["ephemeral"]
    ttl: Literal["5m"] = "5m"


class _Cached(_Closed):
    cache_control: _CacheControl | None = None


class _Text(_Cached):
    type: Literal["text"]
    text: str


class _Thinking(_Closed):
    type: Literal["thinking"]
    thinking: str
    signature: str


class _RedactedThinking(_Closed):
    type: Literal["redacted_thinking"]
    data: str


class _ToolUse(_Cached):
    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class _ToolResult(_Cached):
    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[_Text] = ""
    is_error: bool = False


_Block = Annotated[_Text | _Thinking | _RedactedThinking | _ToolUse | _ToolResult, Field(discriminator="type")]


class _Message(_Closed):
    role: Literal["user", "assistant"]
    content: str | list[_Block]


class _Tool(_Cached):
    type: Literal["custom"] | None = None
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = ""
    input_schema: dict[str, Any]
    strict: bool = False


class _ToolChoice(_Closed):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class _ThinkingConfig(_Closed):
    type: Literal["enabled", "adaptive", "between_tools", "disabled"]
    budget_tokens: int | None = Field(default=None, ge=1024)
    display: Literal["summarized", "omitted"] | None = None


class _Format(_Closed):
    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    type: Literal["json_schema"]
    document: dict[str, Any] = Field(alias="schema")


class _OutputConfig(_Closed):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: _Format | None = None


class PlannerRequest(_Closed):
    """Body of `POST /planner/v1/messages`: the Messages API, as far as the planner may use it."""

    model: str
    max_tokens: int = Field(ge=1)
    messages: list[_Message] = Field(min_length=1, max_length=1000)
    system: str | list[_Text] = ""
    stop_sequences: list[str] = Field(default_factory=list, max_length=16)
    stream: bool = False
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    tools: list[_Tool] = Field(default_factory=list, max_length=64)
    tool_choice: _ToolChoice | None = None
    thinking: _ThinkingConfig | None = None
    output_config: _OutputConfig | None = None

    def encode(self) -> bytes:
        """The body that is sent: what was given, written anew."""
        return self.model_dump_json(by_alias=True, exclude_unset=True).encode()


def narrow(verdict: Verdict, headers: Sequence[tuple[bytes, bytes]]) -> Verdict:
    """The verdict, refused when it is on a model call that is not in the grammar; any other call is left as it is."""
    if verdict.call is None or verdict.method != METHOD:
        return verdict
    problem = _problem_of(verdict.call.body, headers)
    if problem is None:
        return verdict
    rule, reason = problem
    return replace(verdict, allowed=False, rule=rule, reason=reason, status="INVALID_ARGUMENT", call=None)


def version_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The version of the Messages API that is asked for."""
    named = [value.decode("latin-1") for name, value in headers if name.lower() == b"anthropic-version"]
    return named[0] if named else VERSIONS[0]


def _problem_of(body: Any, headers: Sequence[tuple[bytes, bytes]]) -> tuple[str, str] | None:
    folded = [name.lower().replace(b"_", b"-") for name, _ in headers]
    names = [name for name in folded if name.startswith(b"anthropic-")]
    if any(name != b"anthropic-version" for name in names) or len(names) > 1 or version_of(headers) not in VERSIONS:
        return "header", f"{METHOD}: of the anthropic- headers only anthropic-version is accepted: {VERSIONS}."
    try:
        PlannerRequest.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:120]
        return "body", f"{METHOD}: body.{where}: {first['msg'][:160]}."
    return None
