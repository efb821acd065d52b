"""Request IDs: the same request sent twice acts once and gets the same reply [AIP-155]."""

import hashlib
import json
from typing import Any

from sqlmodel import Session, select

from agent.tables import RequestRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import Aborted
from pilotlight.plan import canonical_json
from pilotlight.wire import Wire


def find_reply(db: Session, scope: str, request_id: str | None, body: Wire) -> dict[str, Any] | None:
    """The stored reply of this request, None when it is new. Raises Aborted when the ID served another request."""
    if request_id is None:
        return None
    query = select(RequestRow).where(RequestRow.scope == scope, RequestRow.request_id == request_id)
    row = db.exec(query).one_or_none()
    if row is None:
        return None
    if row.digest != _digest(body):
        raise Aborted(
            f"requestId {request_id!r} was used for another request.", hint="Use a fresh one for a new request."
        )
    return json.loads(row.reply)


def keep_reply(db: Session, scope: str, request_id: str | None, body: Wire, reply: dict[str, Any]) -> None:
    """Remember the reply in the transaction that did the work."""
    if request_id is not None:
        text, time = json.dumps(reply), to_rfc3339(now())
        db.add(RequestRow(scope=scope, request_id=request_id, digest=_digest(body), reply=text, time=time))


def _digest(body: Wire) -> str:
    return hashlib.sha256(canonical_json(body.model_dump(mode="json", by_alias=True)).encode()).hexdigest()
