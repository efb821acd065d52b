"""Column types that SQLite and PostgreSQL share."""

from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer
from sqlalchemy.types import TypeDecorator, TypeEngine


class BigInt(TypeDecorator[int]):
    """64 bits on both: an INTEGER of PostgreSQL ends at 2,147 dollars in micro-dollars, one of SQLite does not.

    SQLite gets the name INTEGER, without which a primary key would not number itself.
    """

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """BIGINT, and INTEGER on SQLite."""
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())
