"""Every failure a user can see, with its google.rpc code.

PilotlightError
├── InvalidArgument      400  the request is malformed
├── FailedPrecondition   400  the request is fine, the state is not
├── OutOfRange           400
├── Unauthenticated      401
├── PermissionDenied     403
├── NotFound             404
├── AlreadyExists        409
├── Aborted              409  somebody else was first; read again, then retry
├── ResourceExhausted    429
├── Unimplemented        501
├── Unavailable          503
└── Internal             500  ours to fix

A message says what happened and why; `hint` says what to do next. Bodies have the shape of DESIGN section 3.
"""

from typing import Any, ClassVar


class PilotlightError(Exception):
    """Base of all errors that may reach a user. Subclasses fix the google.rpc status and the HTTP code."""

    status: ClassVar[str] = "INTERNAL"
    http_code: ClassVar[int] = 500
    grpc_code: ClassVar[int] = 13

    def __init__(self, message: str, *, hint: str = "", details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details or []

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    @property
    def reason(self) -> str:
        """The `reason` of its google.rpc.ErrorInfo, such as the rule that refused a call; empty without one."""
        return next((str(detail["reason"]) for detail in self.details if "reason" in detail), "")

    def to_body(self) -> dict[str, Any]:
        """The wire form: {"error": {"code", "status", "message", "details"}}."""
        return {"error": {"code": self.http_code, "status": self.status, "message": str(self), "details": self.details}}


class InvalidArgument(PilotlightError):
    """The request is malformed, whatever the state of the system."""

    status, http_code, grpc_code = "INVALID_ARGUMENT", 400, 3


class FailedPrecondition(PilotlightError):
    """The request is well formed, but the resource is not in a state that allows it."""

    status, http_code, grpc_code = "FAILED_PRECONDITION", 400, 9


class OutOfRange(PilotlightError):
    """A position or a value beyond what exists."""

    status, http_code, grpc_code = "OUT_OF_RANGE", 400, 11


class Unauthenticated(PilotlightError):
    """No key, or a key nobody knows."""

    status, http_code, grpc_code = "UNAUTHENTICATED", 401, 16


class PermissionDenied(PilotlightError):
    """The caller is known and may not do this."""

    status, http_code, grpc_code = "PERMISSION_DENIED", 403, 7


class NotFound(PilotlightError):
    """No such resource, or none that the caller may see."""

    status, http_code, grpc_code = "NOT_FOUND", 404, 5


class AlreadyExists(PilotlightError):
    """The ID is taken."""

    status, http_code, grpc_code = "ALREADY_EXISTS", 409, 6


class Aborted(PilotlightError):
    """A concurrent change was first: read the resource again and decide anew."""

    status, http_code, grpc_code = "ABORTED", 409, 10


class ResourceExhausted(PilotlightError):
    """A limit, a quota or a grant is used up."""

    status, http_code, grpc_code = "RESOURCE_EXHAUSTED", 429, 8


class Unimplemented(PilotlightError):
    """A documented method this platform does not offer."""

    status, http_code, grpc_code = "UNIMPLEMENTED", 501, 12


class Unavailable(PilotlightError):
    """Not now; retry with back-off."""

    status, http_code, grpc_code = "UNAVAILABLE", 503, 14


class Internal(PilotlightError):
    """A defect of ours."""


_KINDS = (
    InvalidArgument,
    FailedPrecondition,
    OutOfRange,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    AlreadyExists,
    Aborted,
    ResourceExhausted,
    Unimplemented,
    Unavailable,
    Internal,
)
_BY_STATUS = {kind.status: kind for kind in _KINDS}
_BY_GRPC = {kind.grpc_code: kind for kind in _KINDS}
_BY_HTTP = {kind.http_code: kind for kind in reversed(_KINDS)}


def kind_of(error: dict[str, Any], http_code: int) -> type[PilotlightError]:
    """The class that the inside of an error body stands for: by its status name, its grpc code, else its HTTP code."""
    code = error.get("code")
    by_code = _BY_GRPC.get(code) if isinstance(code, int) else None
    fallback = Internal if http_code >= 500 else InvalidArgument
    return _BY_STATUS.get(str(error.get("status"))) or by_code or _BY_HTTP.get(http_code, fallback)
