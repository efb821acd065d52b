"""Letting one decided call in: effect key, grant, reservation and audit in one transaction, before anything is sent."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from gateway import audit, direct, effects, fence, ledger
from gateway.creation import expected_name
from gateway.effects import Effect
from gateway.fence import Fence
from gateway.ledger import Held
from gateway.principal import Principal
from gateway.uncovered import Uncovered
from manifest.facts import Call, Verdict
from manifest.pilot import pilot_methods
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import Aborted, InvalidArgument, PermissionDenied, PilotlightError, ResourceExhausted
from pilotlight.pricebook import PriceBook

MAX_KEY = 200
_USED_UP = ("spend.exhausted", "spend.limit", "spend.key-session", "spend.key-month")


@dataclass(frozen=True)
class Admission:
    """What was decided in the transaction. Exactly one of: `error`, a replayed `effect` (done), or go ahead."""

    held: Held | None = None
    effect: Effect | None = None
    error: PilotlightError | None = None
    rule: str = "allowed"

    @property
    def concluded(self) -> bool:
        """Whether an earlier try was never answered and its money is settled by now: sent again, it would hold none."""
        effect = self.effect
        return effect is not None and effect.reservation is not None and effect.state == "pending" and self.held is None


def admit(
    db: Connection,
    principal: Principal,
    verdict: Verdict,
    call: Call,
    key: str | None,
    prices: PriceBook,
    is_running: Fence,
) -> Admission:
    """Check turn and spend, claim the effect key, write the audit row. Refusals are returned: the row stays."""
    try:
        fence.check(db, principal, is_running)
        admission = _admit(db, principal, verdict, call, key, prices)
    except Uncovered as over:
        admission = Admission(error=turn_is_over(verdict.method, over), rule=over.rule)
    detail = {"digest": effects.digest_of(call)} | ({"key": key} if key else {})
    if admission.held:
        detail |= {"grant": admission.held.grant, "reserved": str(admission.held.micros)}
    if admission.effect:
        detail |= {"again": admission.effect.state}
    record(db, principal, verdict, admission.error, admission.rule, detail)
    reach(Point.CONTROL_ADMIT_WRITTEN)
    return admission


def record(
    db: Connection,
    principal: Principal,
    verdict: Verdict,
    error: PilotlightError | None,
    rule: str,
    detail: dict[str, Any],
) -> None:
    """Write the verdict into the audit, with the epoch of the turn that called."""
    turn = {"epoch": principal.epoch} if principal.session is not None else {}
    audit.append(
        db,
        principal=principal.label,
        method=verdict.method,
        resource=verdict.resource[:400],
        verdict="denied" if error else "allowed",
        rule=rule,
        detail=detail | turn | ({"reason": error.message[:400]} if error else {}),
    )


def _admit(
    db: Connection, principal: Principal, verdict: Verdict, call: Call, key: str | None, prices: PriceBook
) -> Admission:
    if principal.limited and not direct.is_free(verdict, call):
        message = f"{verdict.method}: {direct.REASON}"
        error = refusal(PermissionDenied, verdict.method, "spend.key-direct", message)
        return Admission(error=error, rule="spend.key-direct")
    spends = principal.session is not None and verdict.kind in ("spend", "infer")
    if spends and verdict.kind == "spend" and not key:
        text = f"{verdict.method} needs an Idempotency-Key: what costs money must not happen twice."
        return Admission(error=InvalidArgument(text), rule="spend.key")
    if spends and verdict.kind == "spend" and not expected_name(call):
        text = f"{verdict.method}: choose an ID for what is created, so that it can be found when its answer is lost."
        return Admission(error=InvalidArgument(text), rule="spend.id")
    scope = effects.scope_of(principal)
    known = None
    if key:
        try:
            known = effects.find(db, scope, key, effects.digest_of(call))
        except Aborted as error:
            return Admission(error=error, rule="effect")
    if known is not None:
        return Admission(effect=known, held=_held_by(db, known))
    held = None
    if spends and principal.session is not None:
        billing = pilot_methods()[verdict.method].billing or "call"
        try:
            held = ledger.reserve(db, principal.session, principal.account, call, billing, expected_name(call), prices)
        except Uncovered as uncovered:
            return Admission(error=_refuse(verdict, uncovered), rule=uncovered.rule)
    if key:
        effects.start(db, scope, key, effects.digest_of(call), verdict.method, held.reservation if held else None)
    return Admission(held=held)


def _held_by(db: Connection, effect: Effect) -> Held | None:
    return ledger.held_by(db, effect.reservation) if effect.reservation is not None else None


def _refuse(verdict: Verdict, uncovered: Uncovered) -> PilotlightError:
    kind = ResourceExhausted if uncovered.rule in _USED_UP else PermissionDenied
    return refusal(kind, verdict.method, uncovered.rule, f"{verdict.method} spends, and {uncovered}.")


def turn_is_over(method: str, over: Uncovered) -> PilotlightError:
    """The refusal of a call whose turn is over."""
    return refusal(Aborted, method, over.rule, f"{method}: {over}.")


def refusal(kind: type[PilotlightError], method: str, rule: str, message: str, hint: str = "") -> PilotlightError:
    """A google.rpc error that names the method (if there is one) and the rule that refused it."""
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": rule,
        "domain": "pilotlight.gateway",
        "metadata": {"method": method, "rule": rule},
    }
    return kind(f"{message} [rule {rule}]", hint=hint, details=[info])
