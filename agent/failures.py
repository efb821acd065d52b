"""Every failure of the control process as {"error": {"code", "status", "message", "details"}}."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException

from agent.wire import ErrorBody
from pilotlight.errors import Internal, InvalidArgument, NotFound, PilotlightError, Unavailable, Unimplemented

log = logging.getLogger(__name__)

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorBody, "description": "INVALID_ARGUMENT, FAILED_PRECONDITION or OUT_OF_RANGE"},
    401: {"model": ErrorBody, "description": "UNAUTHENTICATED"},
    403: {"model": ErrorBody, "description": "PERMISSION_DENIED"},
    404: {"model": ErrorBody, "description": "NOT_FOUND"},
    409: {"model": ErrorBody, "description": "ABORTED or ALREADY_EXISTS"},
    429: {"model": ErrorBody, "description": "RESOURCE_EXHAUSTED"},
    503: {"model": ErrorBody, "description": "UNAVAILABLE"},
}
"""For the OpenAPI document."""


def add_error_handlers(app: FastAPI) -> None:
    """Make `app` answer every failure in our shape."""
    app.add_exception_handler(PilotlightError, _on_pilotlight_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(NoConnection, _on_no_connection)
    app.add_exception_handler(Exception, _on_defect)


def error_response(error: PilotlightError) -> JSONResponse:
    """The response of an error. SDKs are told not to retry what will not change."""
    headers = {} if error.http_code in (429, 503) else {"x-should-retry": "false"}
    return JSONResponse(error.to_body(), error.http_code, headers)


async def _on_pilotlight_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PilotlightError)
    return error_response(error)


async def _on_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [_describe(problem) for problem in error.errors()[:10]]
    details = [{"field": field, "description": text} for field, text in problems]
    message = "; ".join(f"{field}: {text}" if field else text for field, text in problems)
    return error_response(InvalidArgument(f"Invalid request. {message}", details=details))


async def _on_http_exception(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    known = {404: NotFound("There is no such path."), 405: Unimplemented("This path does not take that method.")}
    body = known.get(error.status_code, InvalidArgument(str(error.detail))).to_body()
    body["error"]["code"] = error.status_code
    return JSONResponse(body, error.status_code, error.headers)


async def _on_no_connection(_request: Request, _error: Exception) -> JSONResponse:
    text = "All connections to the control database are busy."
    return error_response(Unavailable(text, hint="Try again in a moment."))


async def _on_defect(request: Request, error: Exception) -> JSONResponse:
    log.error("Unexpected failure of %s %s", request.method, request.url.path, exc_info=error)
    return error_response(Internal("An unexpected failure; the server's log has the details."))


def _describe(problem: dict[str, Any]) -> tuple[str, str]:
    field = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path", "header"))
    return field, str(problem["msg"]).encode("utf-8", "replace").decode()
