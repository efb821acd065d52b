"""What a scripted model says: one turn per request. A script can be kept as JSON."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(_Part):
    """Words of the model."""

    type: Literal["text"] = "text"
    text: str


class ToolPart(_Part):
    """A call of one of the caller's tools."""

    type: Literal["tool_use"] = "tool_use"
    name: str
    input: dict[str, Any]


class Failure(_Part):
    """An HTTP error instead of an answer."""

    status: int = Field(ge=400, le=599)
    message: str = "scripted"
    retry_after: int | None = None

    @property
    def type(self) -> str:
        """The type name that goes with the status."""
        return _ERRORS.get(self.status, "api_error")


class Turn(_Part):
    """One answer. Tokens that are not given are counted at four characters each."""

    parts: list[TextPart | ToolPart] = Field(default_factory=list[TextPart | ToolPart])
    failure: Failure | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    delay_seconds: float = Field(default=0.0, ge=0)
    """Before the answer begins, and in a stream before each piece of it."""
    break_after: int | None = Field(default=None, ge=0)
    """The connection breaks after this many events of a stream, or bytes of a whole answer."""
    headers: dict[str, str] = Field(default_factory=dict[str, str])
    """Further headers of the answer."""

    @classmethod
    def say(cls, text: str, **more: Any) -> "Turn":
        """A turn of words alone."""
        return cls(parts=[TextPart(text=text)], **more)

    @classmethod
    def fail(cls, status: int, message: str = "scripted", **more: Any) -> "Turn":
        """A turn that is an HTTP error."""
        return cls(failure=Failure(status=status, message=message), **more)
