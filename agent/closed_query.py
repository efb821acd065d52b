"""A closed query grammar for the Agent API: a misspelt parameter is an error, not silently the default."""

from typing import Any

from fastapi import Request

from pilotlight.errors import InvalidArgument


def check_query(request: Request) -> None:
    """Raises InvalidArgument for a query parameter that the published document does not give the method."""
    if not request.query_params:
        return
    path, verb = request.scope["route"].path_format, request.method.lower()
    operation: dict[str, Any] = request.app.openapi()["paths"][path][verb]
    known = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
    for name in request.query_params:
        if name not in known:
            hint = f"It has {', '.join(sorted(known))}." if known else "It has none."
            raise InvalidArgument(f"This method has no query parameter {name[:80]!r}.", hint=hint)
