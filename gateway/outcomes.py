"""What is written down once the platform has answered, or has not."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from gateway import effects, ledger
from gateway.admission import Admission
from gateway.principal import Principal
from gateway.store import record_owner
from manifest.facts import Call, Owner
from pilotlight.crashpoints import Point, reach


@dataclass(frozen=True)
class Sent:
    """A call that was let in."""

    principal: Principal
    call: Call
    key: str | None
    admission: Admission

    @property
    def again(self) -> bool:
        """Whether an earlier try under the same key may already have happened."""
        return self.admission.effect is not None

    @property
    def metered(self) -> bool:
        """Whether money is held for it that its answer settles."""
        held = self.admission.held
        return held is not None and held.reservation is not None


def refused_for_sure(code: int) -> bool:
    """Whether an HTTP status says that nothing happened upstream; 5xx and time-outs do not."""
    return (400 <= code < 500 and code != 408) or code == 501


def still_asleep(code: int, body: bytes) -> bool:
    """Whether the deployment said that it is waking up [P76]; any other 503 may follow a call that was carried out."""
    found = _json(body) if code == 503 else None
    error = found.get("error") if isinstance(found, dict) else None
    return isinstance(error, dict) and error.get("code") == "DEPLOYMENT_SCALING_UP"


def write_success(db: Connection, sent: Sent, code: int, body: bytes) -> None:
    """Store the answer for replays, who owns what was created, and that the reservation's resource exists."""
    names = created_names(sent.call, body)
    owner = Owner(sent.principal.user, sent.principal.session or "")
    for name in names:
        record_owner(db, name, owner, sent.call.route.method)
    held = sent.admission.held
    if held and held.reservation is not None and names:
        ledger.confirm(db, held.reservation, names[0])
    if sent.key:
        effects.finish(db, effects.scope_of(sent.principal), sent.key, code, body.decode("utf-8", "replace"))
    reach(Point.CONTROL_OUTCOME_WRITTEN)


def write_refusal(db: Connection, sent: Sent) -> None:
    """Give the reservation back and free the key: the call did not happen."""
    if sent.admission.held:
        ledger.release(db, sent.admission.held)
    if sent.key:
        effects.forget(db, effects.scope_of(sent.principal), sent.key)


def created_names(call: Call, body: bytes) -> list[str]:
    """Names of what a creating call made: the resource itself first, then what it will write (an output model)."""
    if call.route.action != "create":
        return []
    found = _json(body)
    name = found.get("name") if isinstance(found, dict) else None
    own = [name] if isinstance(name, str) and name.startswith("accounts/") else []
    return [*own, *_unique(new for access, new in call.references if access == "new")]


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
