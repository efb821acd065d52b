"""Request bodies read strictly: NaN, lone surrogates and broken UTF-8 are refused before any of our code sees them."""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute


class StrictRequest(Request):
    """A request whose `json()` accepts only what can be written back as UTF-8 JSON."""

    async def json(self) -> Any:
        """The body as JSON. Raises json.JSONDecodeError."""
        return orjson.loads(await self.body())


class StrictRoute(APIRoute):
    """A FastAPI route (`APIRouter(route_class=StrictRoute)`) whose JSON bodies are read by StrictRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the request before FastAPI parses it."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return handle_strictly
