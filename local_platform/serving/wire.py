"""Bodies of inference requests (snake_case): every field of the official SDK is known here, any other is refused.

Fields that cannot change the answer (metadata, user, cache keys, service tier, speculation hints) are accepted and
ignored. Fields that would change it and are not built are refused by name: response formats, grammars, Mirostat,
typical_p, images, forced tool choice. Tools are rendered into the prompt; calls in the model's text are not parsed
out of it.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_LOGPROBS = 100
"""The documented limit is 5; more labels than that are common in classification, and here it costs nothing."""
CHAT_MAX_TOKENS = 2048
COMPLETION_MAX_TOKENS = 16
"""Defaults of max_tokens; both are lowered to what the context has room for."""

_TokenIds = list[Annotated[int, Field(ge=0)]]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class StreamOptions(_Body):
    """OpenAI's; `include_usage` adds a last chunk without choices. `include_obfuscation` is accepted and ignored."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class GenerationBody(_Body):
    """What chat and plain completions share."""

    model: str = Field(min_length=1, max_length=512)
    max_tokens: int | None = Field(None, ge=0)
    max_completion_tokens: int | None = Field(None, ge=0)
    n: int = Field(1, ge=1, le=128)
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=100)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=0, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[int, float] | None = None
    logprobs: bool | int | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    echo: bool | None = None
    echo_last: int | None = Field(None, ge=0)
    ignore_eos: bool | None = None
    context_length_exceeded_behavior: Literal["error", "truncate"] = "truncate"
    return_token_ids: bool | None = None
    raw_output: bool | None = None
    perf_metrics_in_response: bool | None = None

    metadata: dict[str, str] | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_isolation_key: str | None = None
    service_tier: str | None = None
    prediction: Any = None
    speculation: Any = None
    store: bool | None = None

    response_format: dict[str, Any] | None = None
    typical_p: float | None = None
    mirostat_target: float | None = None
    mirostat_lr: float | None = None
    reasoning_effort: str | int | bool | None = None
    reasoning_history: str | None = None
    thinking: dict[str, Any] | None = None

    @field_validator("response_format")
    @classmethod
    def _refuse_formats(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and value.get("type") != "text":
            raise ValueError(
                f"type {value.get('type')!r} needs constrained decoding, which is not supported; use 'text'"
            )
        return value

    @field_validator("typical_p", "mirostat_target")
    @classmethod
    def _refuse_samplers(cls, value: float | None) -> float | None:
        if value is not None and value != 1.0:
            raise ValueError("this sampling method is not supported; use temperature, top_p, top_k or min_p")
        return value

    @field_validator("stop")
    @classmethod
    def _check_stop(cls, value: str | list[str] | None) -> str | list[str] | None:
        stops = [value] if isinstance(value, str) else value or []
        if len(stops) > 4 or not all(stops):
            raise ValueError("give up to 4 sequences, none of them empty")
        return value

    @field_validator("logit_bias")
    @classmethod
    def _check_bias(cls, value: dict[int, float] | None) -> dict[int, float] | None:
        if value and any(not -100 <= bias <= 100 for bias in value.values()):
            raise ValueError("biases are between -100 and 100")
        return value

    @field_validator("logprobs")
    @classmethod
    def _check_logprobs(cls, value: bool | int | None) -> bool | int | None:
        if value is not None and not isinstance(value, bool) and not 0 <= value <= MAX_LOGPROBS:
            raise ValueError(f"as a number it is between 0 and {MAX_LOGPROBS}")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("max_tokens and max_completion_tokens are the same: give one of them")
        if self.top_logprobs is not None and self.logprobs in (None, False):
            raise ValueError("top_logprobs needs logprobs")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def alternatives(self) -> int | None:
        """How many most likely tokens to report per position; None when no log-probabilities are wanted."""
        if self.logprobs is None or self.logprobs is False:
            return None
        if self.top_logprobs is not None:
            return self.top_logprobs
        return 0 if self.logprobs is True else self.logprobs

    @property
    def legacy_logprobs(self) -> bool:
        """A number asks for the older format, `true` for the newer one."""
        return self.logprobs is not None and not isinstance(self.logprobs, bool)

    @property
    def wanted_tokens(self) -> int | None:
        """max_tokens under either of its names."""
        return self.max_tokens if self.max_tokens is not None else self.max_completion_tokens

    @property
    def thinks(self) -> bool | None:
        """What the chat template is told about reasoning; None leaves its default."""
        if self.thinking is not None:
            return self.thinking.get("type") != "disabled"
        return None if self.reasoning_effort is None else self.reasoning_effort not in ("none", False)


class ContentPart(_Body):
    """One part of a message; only text is served."""

    model_config = ConfigDict(extra="allow")

    type: str
    text: str | None = None


class Message(_Body):
    """One chat message. `name` and `refusal` are OpenAI's and reach the template."""

    role: str
    content: str | list[ContentPart] | None = None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    refusal: str | None = None


class Tool(_Body):
    """A function the model may call [P87]."""

    type: Literal["function"]
    function: dict[str, Any] | None = None


class ChatBody(GenerationBody):
    """POST .../chat/completions."""

    messages: list[Message] = Field(min_length=1)
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    prompt_truncate_len: int | None = Field(None, ge=1)
    safe_tokenization: bool | None = None
    functions: list[Any] | None = None
    function_call: Any = None

    @field_validator("functions", "function_call")
    @classmethod
    def _refuse_functions(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("the deprecated form is not supported; use tools")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _refuse_forced(cls, value: Any) -> Any:
        if value not in (None, "auto", "none"):
            raise ValueError(
                "a forced tool call needs constrained decoding, which is not supported; use 'auto' or 'none'"
            )
        return value

    @property
    def offers_tools(self) -> bool:
        """Whether tools go into the prompt."""
        return bool(self.tools) and self.tool_choice != "none"


class CompletionBody(GenerationBody):
    """POST .../completions. A list of prompts gives n choices per prompt, prompt by prompt."""

    prompt: str | _TokenIds | list[str] | list[_TokenIds]
    images: list[Any] | None = None

    @field_validator("images")
    @classmethod
    def _refuse_images(cls, value: list[Any] | None) -> list[Any] | None:
        if value:
            raise ValueError("images are not supported: this is a text model")
        return value

    @property
    def prompts(self) -> list[str | list[int]]:
        """One entry per prompt."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]  # pyright: ignore[reportReturnType]
        return list(self.prompt)  # pyright: ignore[reportReturnType]
