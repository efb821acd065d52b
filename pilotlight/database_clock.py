"""The database's own clock in SQL: the one clock that all processes of a database share."""

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement


class ClockSeconds(FunctionElement[float]):
    """SQL: seconds since the epoch by the database's clock, the one clock that all processes of a database share."""

    type = Float()
    inherit_cache = True


@compiles(ClockSeconds, "sqlite")
def _of_sqlite(_element: Any, _compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(ClockSeconds, "postgresql")
def _of_postgresql(_element: Any, _compiler: Any, **_: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
