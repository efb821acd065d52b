"""Field types and account relations of queries and bodies: every resource name, wherever it stands.

Reads may name the caller's own account or the public catalogue; what is written must be the caller's own [A89].
"""

import re
from typing import Any

from manifest.facts import Caller, Refusal
from manifest.registry import Field, Fields
from pilotlight.names import CATALOGUE_ACCOUNT, ID_PATTERN

_NAME = re.compile(r"accounts/([a-z0-9][a-z0-9-]{0,62})/([A-Za-z]{1,40})/([A-Za-z0-9][A-Za-z0-9._-]{0,62})\Z")
_SHORT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_MENTION = re.compile(r"accounts(?:/|\\|%2f)([^/\\%\s\"']*)", re.IGNORECASE)
_CLIMB = re.compile(r"accounts[/\\%][^\s\"']*[/\\f]\.\.?(?:[/\\%]|\Z)", re.IGNORECASE)
"""A name that leaves its account again, for a reader that resolves dot segments."""
_INT64 = re.compile(r"-?(?:0|[1-9][0-9]{0,18})\Z")


class Reader:
    """Checks the values of one request and collects the names in them as (access, name)."""

    def __init__(self, caller: Caller, method: str) -> None:
        self.caller, self.method = caller, method
        self.strict = caller.bound
        self.references: list[tuple[str, str]] = []

    def read_query(self, pairs: list[tuple[str, str]], known: Fields) -> None:
        """Check decoded query pairs. Raises Refusal."""
        for name, value in pairs:
            self._read(value, known[name], f"query.{name}")

    def read_body(self, body: Any, known: Fields) -> None:
        """Check a parsed JSON body. Raises Refusal."""
        if not isinstance(body, dict):
            raise self._bad("body", "the body must be a JSON object")
        self._read_object(body, known, "body")

    def _read_object(self, value: dict[str, Any], known: Fields, where: str) -> None:
        for name, inner in value.items():
            field = known.get(name)
            if field is not None:
                self._read(inner, field, f"{where}.{name}")
            elif self.strict:
                raise self._bad(where, f"{self.method} has no field {name[:80]!r}")
            else:
                self._read_unknown(name, inner, value, known, where)

    def _read_unknown(self, name: str, inner: Any, value: dict[str, Any], known: Fields, where: str) -> None:
        """A user's own key may send fields that we do not know, but not a second spelling of one that we check."""
        alias = re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)
        if alias != name and alias in value:
            raise self._bad(where, f"{name!r} and {alias!r} are the same field")
        if alias in known:
            self._read(inner, known[alias], f"{where}.{name}")
        else:
            self._scan(inner, f"{where}.{name}")

    def _read(self, value: Any, field: Field, where: str) -> None:
        if field.type == "content":
            return
        if value is None:
            if self.strict:
                raise self._bad(where, "null is not a value; leave the field out")
        elif field.type in ("name", "own", "new"):
            self._read_name(value, field, where)
        elif field.type == "target":
            self._read_target(value, where)
        else:
            self._read_value(value, field, where)

    def _read_value(self, value: Any, field: Field, where: str) -> None:
        if self.strict and not _has_type(value, field.type):
            raise self._bad(where, f"expected {field.type}")
        if field.fields is not None and isinstance(value, dict):
            self._read_object(value, field.fields, where)
        else:
            self._scan(value, where)

    def _read_name(self, value: Any, field: Field, where: str) -> None:
        if not isinstance(value, str):
            raise self._bad(where, f"expected a name of {field.collection}")
        if "/" not in value and not self.strict and _SHORT.match(value):
            self.references.append((field.type, f"accounts/{self.caller.account}/{field.collection}/{value}"))
            return
        match = _NAME.match(value)
        if not match or match[2] != field.collection:
            raise self._bad(where, f"expected accounts/<account>/{field.collection}/<id>")
        self._check_account(match[1], where, public=field.type == "name")
        if field.type == "new" and not ID_PATTERN.match(match[3]):
            raise self._bad(where, "expected an ID of 1 to 63 characters of a-z, 0-9 and '-'")
        self.references.append((field.type, value))

    def _read_target(self, value: Any, where: str) -> None:
        parts = value.split("#") if isinstance(value, str) else []
        if len(parts) == 1 and not self.strict and _SHORT.match(parts[0]):
            return
        names = [_NAME.match(part) for part in parts]
        kinds = [match[2] if match else "" for match in names]
        if kinds not in (["models"], ["deployments"], ["models", "deployments"]):
            raise self._bad(where, "expected accounts/<account>/models|deployments/<id>, optionally #<deployment>")
        for match in names:
            if match is not None:
                self._check_account(match[1], where, public=match[2] == "models")
                self.references.append(("target", match[0]))

    def _scan(self, value: Any, where: str) -> None:
        """Refuse a mention of another account in a value of no particular type."""
        if isinstance(value, str):
            if "accounts" not in value.lower():
                return
            if self.strict and _CLIMB.search(value):
                raise self._bad(where, "a resource name has no dot segments")
            found = _MENTION.findall(value) if self.strict else _MENTION.findall(value)[: value.startswith("accounts/")]
            for account in found:
                self._check_account(account, where, public=True)
        elif isinstance(value, dict):
            for name, inner in value.items():
                self._scan(name, where)
                self._scan(inner, f"{where}.{name}")
        elif isinstance(value, list):
            for inner in value:
                self._scan(inner, where)

    def _check_account(self, account: str, where: str, *, public: bool) -> None:
        if account != self.caller.account and not (public and account == CATALOGUE_ACCOUNT):
            allowed = "its own account or the public catalogue" if public else "its own account"
            raise Refusal(
                "account", f"{self.method}: {where} names the account {account[:63]!r}; allowed is {allowed}."
            )

    def _bad(self, where: str, reason: str) -> Refusal:
        return Refusal("body" if where.startswith("body") else "query", f"{where}: {reason}.", "INVALID_ARGUMENT")


def _has_type(value: Any, kind: str) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "id":
            return isinstance(value, str) and bool(ID_PATTERN.match(value))
        case "integer":
            if isinstance(value, str) and _INT64.match(value):
                value = int(value)
            return isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case "list":
            return isinstance(value, list)
        case _:
            return True
