"""The front door: every platform path that the control process does not serve itself goes through the gateway."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

import gateway
from agent.binding import find_turn
from agent.context import ControlDep, find_control, identify
from pilotlight.errors import NotFound, Unimplemented
from pilotlight.identity import Principal

router = APIRouter(include_in_schema=False)
runner_router = APIRouter(include_in_schema=False)
_METHODS = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "LINK", "UNLINK", "BIND",
    "UNBIND", "REBIND", "COPY", "MOVE", "MKCOL", "LOCK", "UNLOCK", "PROPFIND", "PROPPATCH", "SEARCH", "ACL", "REPORT",
    "MKACTIVITY", "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "MKCALENDAR",
    "SOURCE",
]  # fmt: skip
"""All that the HTTP parser lets through: what is not allowed is refused by the gateway, with its reason [A85]."""
_OWN = frozenset({"sessions", "estimates", "users"})
"""Collections of ours: no path below them is the platform's."""


def user_principal(caller: Principal) -> gateway.Principal:
    """A key's holder as the gateway knows it."""
    return gateway.Principal(
        "user",
        caller.account,
        user=caller.user,
        role=caller.role.value,
        preset=caller.preset,
        key_id=caller.key_id,
        limited=caller.spend_limited,
    )


@router.api_route("/v1/accounts/{account}/{path:path}", methods=_METHODS)
@router.api_route("/inference/v1/{path:path}", methods=_METHODS)
@router.api_route("/v1/chat/completions", methods=_METHODS)
@router.api_route("/v1/completions", methods=_METHODS)
@router.api_route("/v1/models", methods=_METHODS)
async def forward_user(request: Request) -> Response:
    """A request of a key's holder; bodies are streamed both ways."""
    control = find_control(request)
    caller = await run_in_threadpool(identify, request, control)
    collection = request.path_params.get("path", "").partition("/")[0].partition(":")[0]
    if collection in _OWN and caller.preset is None:
        raise Unimplemented(f"{request.method} is not a method of {request.url.path[:200]}.")
    return await control.gateway.forward(user_principal(caller), request)


@runner_router.api_route("/{path:path}", methods=_METHODS)
async def forward_runner(request: Request, control: ControlDep) -> Response:
    """A request of a session's runner: known by its socket."""
    if request.url.path.startswith("/turn/"):
        raise NotFound("There is no such path.")
    turn = find_turn(request)
    principal = gateway.Principal(
        "session", turn.account, turn.session, turn.user, turn.role, turn.preset, epoch=turn.epoch
    )
    return await control.gateway.forward(principal, request)
