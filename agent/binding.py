"""Ties a socket to its turn: nothing a runner sends can name another."""

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.turns import Turn

_KEY = "pilotlight.turn"


def bind_turn(app: ASGIApp, turn: Turn) -> ASGIApp:
    """`app` as the runner of `turn` sees it: each request carries that identity."""

    async def bound(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, _KEY: turn}, receive, send)

    return bound


def find_turn(request: Request) -> Turn:
    """The turn whose socket this request came through."""
    return request.scope[_KEY]
