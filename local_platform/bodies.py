"""Request bodies at the boundary: JSON into pydantic types, and pydantic's findings into one clear sentence."""

import re
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError

from pilotlight.errors import InvalidArgument

T = TypeVar("T", bound=BaseModel)
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s\Z")


def _refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


WireInt = Annotated[int, BeforeValidator(_refuse_bool)]
"""An integer; also accepted as a decimal string, as int64 travels in JSON [P19]."""
WireFloat = Annotated[float, BeforeValidator(_refuse_bool)]


def parse_body(kind: type[T], payload: Any) -> T:
    """Validate a decoded JSON body. Raises InvalidArgument naming the first bad field and how many more there are."""
    if not isinstance(payload, dict):
        raise InvalidArgument("The request body must be a JSON object.")
    try:
        return kind.model_validate(payload)
    except ValidationError as error:
        raise InvalidArgument(_describe(error)) from error


def parse_duration(value: str, field: str) -> timedelta:
    """A protobuf JSON duration such as `300s` [P19]. Raises InvalidArgument naming `field`."""
    match = _DURATION.match(value)
    if not match:
        raise InvalidArgument(f"Invalid {field} {value[:40]!r}.", hint="Write seconds with an 's', such as '300s'.")
    return timedelta(seconds=float(match[1]))


def _describe(error: ValidationError) -> str:
    findings = error.errors(include_url=False, include_context=False, include_input=False)
    first = findings[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        text = f"Unknown field '{field}'."
    elif first["type"] == "missing":
        text = f"Missing required field '{field}'."
    else:
        text = f"Invalid value for field '{field}': {first['msg'].removeprefix('Value error, ')}."
    return text + (f" ({len(findings) - 1} more findings.)" if len(findings) > 1 else "")
