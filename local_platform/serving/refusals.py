"""Error bodies of inference: {"error": {"message", "code", "type"}} [P91]; used for every failure of these routes."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from pilotlight.errors import PilotlightError

_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}


class InferenceRoute(APIRoute):
    """A route whose errors, those of its dependencies and of its body included, have the inference shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except PilotlightError as error:
                return refuse(error)
            except RequestValidationError as error:
                return _respond(400, describe_invalid(error), "invalid_request")
            except HTTPException as error:
                return _respond(error.status_code, str(error.detail), "invalid_request")

        return guarded


def refuse(error: PilotlightError) -> JSONResponse:
    """The response of a failure before the first byte was sent."""
    return JSONResponse(error_body(error), status_code=error.http_code)


def error_body(error: PilotlightError) -> dict[str, Any]:
    """The body; also sent as an event when a stream fails half-way."""
    code = getattr(error, "inference_code", error.status)
    return _body(error.http_code, str(error), code)


def describe_invalid(error: RequestValidationError) -> str:
    """The first few problems in words; an unknown field is named as such."""
    lines: list[str] = []
    for problem in error.errors()[:3]:
        place = ".".join(str(part) for part in problem["loc"] if part != "body") or "body"
        if problem["type"] == "extra_forbidden":
            lines.append(f"Extra inputs are not permitted: unknown field {place!r}.")
        else:
            lines.append(f"Invalid {place}: {problem['msg'].removeprefix('Value error, ')}.")
    return " ".join(lines)


def _respond(status: int, message: str, code: str) -> JSONResponse:
    return JSONResponse(_body(status, message, code), status_code=status)


def _body(status: int, message: str, code: str) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "internal_server_error")
    return {"error": {"message": message, "code": code, "type": kind}}
