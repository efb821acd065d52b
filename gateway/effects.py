"""Outside effects by key: sent twice, they happen once [DESIGN section 4]."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from gateway.principal import Principal
from manifest.facts import Call
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import Aborted
from pilotlight.plan import canonical_json

_GET = text("SELECT * FROM gateway_effects WHERE scope = :scope AND key = :key")
_INSERT = text(
    "INSERT INTO gateway_effects (scope, key, digest, method, reservation, state, code, response, create_time)"
    " VALUES (:scope, :key, :digest, :method, :reservation, 'pending', 0, '', :now)"
)
_DONE = text(
    "UPDATE gateway_effects SET state = 'done', code = :code, response = :response WHERE scope = :scope AND key = :key"
)
_FORGET = text("DELETE FROM gateway_effects WHERE scope = :scope AND key = :key AND state = 'pending'")


@dataclass(frozen=True)
class Effect:
    """What is known of an effect. `state` pending: sent, its answer unknown."""

    scope: str
    key: str
    state: str
    code: int
    response: str
    reservation: int | None
    create_time: str


def scope_of(principal: Principal) -> str:
    """Keys of one session (or user) say nothing about another's."""
    return principal.label


def digest_of(call: Call) -> str:
    """SHA-256 of what is asked: method, path, query, body. A streamed upload's bytes are not part of it."""
    body: Any = call.body if call.route.body != "multipart" else None
    asked = canonical_json([call.route.verb, call.path, call.query, body])
    return hashlib.sha256(asked.encode()).hexdigest()


def find(db: Connection, scope: str, key: str, digest: str) -> Effect | None:
    """The effect of this key, None when new. Raises Aborted when the key stands for another request."""
    row = db.execute(_GET, {"scope": scope, "key": key}).mappings().first()
    if row is None:
        return None
    if row["digest"] != digest:
        raise Aborted(
            f"The effect key {key[:100]!r} was used for another {row['method']} request.",
            hint="One key stands for one request.",
        )
    return Effect(**{name: row[name] for name in Effect.__dataclass_fields__})


def start(db: Connection, scope: str, key: str, digest: str, method: str, reservation: int | None) -> None:
    """Record that the effect is about to be sent."""
    values = {"scope": scope, "key": key, "digest": digest, "method": method, "reservation": reservation}
    db.execute(_INSERT, values | {"now": to_rfc3339(now())})


def finish(db: Connection, scope: str, key: str, code: int, response: str) -> None:
    """Store the answer that later requests with this key get."""
    db.execute(_DONE, {"scope": scope, "key": key, "code": code, "response": response})


def forget(db: Connection, scope: str, key: str) -> None:
    """The effect certainly did not happen: its key is free again."""
    db.execute(_FORGET, {"scope": scope, "key": key})
