"""Errors as the control plane's gRPC gateway writes them: {"code": <google.rpc.Code>, "message", "details"}.

Codes a retry cannot help carry `x-should-retry: false`: the official SDK retries every 409 and 5xx otherwise. Paths
under `/inference` and the OpenAI routes answer {"error": {...}} [P20].
"""

import errno
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from pilotlight.errors import (
    AlreadyExists,
    Internal,
    InvalidArgument,
    NotFound,
    PilotlightError,
    ResourceExhausted,
    Unauthenticated,
    Unimplemented,
)

log = logging.getLogger(__name__)
_FINAL = (AlreadyExists, Unimplemented)
_BY_HTTP: Mapping[int, type[PilotlightError]] = {
    401: Unauthenticated,
    404: NotFound,
    405: Unimplemented,
    429: ResourceExhausted,
}
_INFERENCE = ("/inference/", "/v1/chat/", "/v1/completions", "/v1/models", "/v1/messages", "/v1/embeddings")


def install_error_handlers(app: FastAPI) -> None:
    """Give every failure of `app` a body of the documented shape."""
    app.add_exception_handler(PilotlightError, _answer_ours)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(OSError, _answer_disk)
    app.add_exception_handler(OperationalError, _answer_disk)
    app.add_exception_handler(Exception, _answer_defect)


def error_response(request: Request, error: PilotlightError) -> JSONResponse:
    """The response of one error, in the shape its path calls for."""
    if request.url.path.startswith(_INFERENCE):
        kind = "server_error" if error.http_code >= 500 else "invalid_request_error"
        body: dict[str, Any] = {"error": {"message": str(error), "code": error.status, "type": kind}}
    else:
        body = {"code": error.grpc_code, "message": str(error), "details": error.details}
    headers = {"x-should-retry": "false"} if isinstance(error, _FINAL) else None
    return JSONResponse(body, error.http_code, headers)


def describe_invalid(error: RequestValidationError) -> str:
    """The first few findings of a body or query that does not fit its type, without echoing input."""
    findings = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()[:5]]
    return "Invalid request: " + "; ".join(findings)


async def _answer_ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PilotlightError)
    return error_response(request, error)


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return error_response(request, InvalidArgument(describe_invalid(error)))


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = _BY_HTTP.get(error.status_code, InvalidArgument if error.status_code < 500 else Internal)
    message = str(error.detail or HTTPStatus(error.status_code).phrase)
    response = error_response(request, kind(f"{request.method} {request.url.path[:200]}: {message}"))
    response.status_code = error.status_code
    return response


async def _answer_disk(request: Request, error: Exception) -> JSONResponse:
    """A full disk is nobody's defect; any other such error is."""
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full or (isinstance(error, OperationalError) and "disk is full" in str(error.orig)):
        hint = "Delete datasets or models, or make room; then send it again."
        return error_response(request, ResourceExhausted("The disk of the platform is full.", hint=hint))
    return await _answer_defect(request, error)


async def _answer_defect(request: Request, error: Exception) -> JSONResponse:
    log.error("defect at %s %s", request.method, request.url.path, exc_info=error)
    return error_response(request, Internal("Internal error.", hint="The server's log has the details."))
