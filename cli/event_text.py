"""How one event is printed: `[2026-05-18 20:31:12] status_info: text`; later lines of a text have no prefix.

Scripts parse this [DESIGN section 10]: the question is the last `status_info:` block, its first line says `ask_user`.
"""

import re
from collections.abc import Callable
from typing import Any

from cli.output import clean
from pilotlight.clock import for_people, parse_rfc3339

Payload = dict[str, Any]
_LOOKS_LIKE_OURS = re.compile(r"^(?=\[(?:done\]|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]))", re.MULTILINE)


def format_event(event: dict[str, Any]) -> str | None:
    """The lines of one event, or None for one that only machines need."""
    kind, payload = str(event["type"]), event["payload"]
    printed = _PRINTERS.get(kind, _plain)(payload)
    if printed is None:
        return None
    label = "status_info" if kind == "question" else kind
    lines = clean(printed.replace("\r", "")).rstrip("\n")
    # A text may quote a dataset: none of its lines may pass for an event, a question or the footer.
    lines = _LOOKS_LIKE_OURS.sub(" ", lines)
    return f"[{for_people(parse_rfc3339(str(event['createTime'])))}] {label}: {lines}"


def _status(payload: Payload) -> str:
    ended_well = payload.get("status") == "succeeded"  # the report has just been printed
    reason = "" if ended_well else str(payload.get("reason") or "").split("\n")[0]
    return f"{payload.get('status')}{': ' + reason if reason else ''}"


def _phase(payload: Payload) -> str:
    detail = payload.get("reason") or payload.get("summary") or ""
    return f"{payload.get('phase')} {payload.get('state')}{' (' + str(detail) + ')' if detail else ''}"


def _question(payload: Payload) -> str:
    head = f"ask_user {payload.get('kind')} {payload.get('questionId')}"
    if plan_hash := payload.get("planHash"):
        head += f" plan {str(plan_hash)[:12]}"
    return f"{head}\n{payload.get('text')}"


def _answer(payload: Payload) -> str:
    decision = payload.get("decision")
    words = payload.get("text") or payload.get("values") or ""
    return f"{words}{f' [{decision}]' if decision else ''} by {payload.get('principal') or 'unknown'}"


def _rpc(payload: Payload) -> str | None:
    if payload.get("verdict") == "allowed" and str(payload.get("method", "")).startswith(("Get", "List")):
        return None
    if payload.get("rule") == "approved-limit":
        return f"{payload.get('resource')} {payload.get('reason')}: ${payload.get('cost')}"
    text = f"{payload.get('method')} {payload.get('resource') or ''} {payload.get('verdict')}".replace("  ", " ")
    if payload.get("verdict") != "allowed":
        text += f": {payload.get('reason') or payload.get('rule')}"
    elif float(payload.get("cost") or 0) > 0:
        text += f", up to ${payload['cost']} reserved"
    return text


def _job(payload: Payload) -> str:
    name = str(payload.get("job", "")).rsplit("/", 1)[-1]
    parts = [f"{payload['candidate']} {name}" if payload.get("candidate") else name, str(payload.get("state"))]
    if payload.get("totalSteps"):
        parts.append(f"step {payload.get('step')}/{payload['totalSteps']}")
    for label, field in (("loss", "loss"), ("eval loss", "evalLoss")):
        if isinstance(value := payload.get(field), int | float):
            parts.append(f"{label} {value:.4f}")
    if isinstance(percent := payload.get("percent"), int | float):
        parts.append(f"{percent:.0f}%")
    if isinstance(eta := payload.get("etaSeconds"), int | float):
        parts.append(f"ETA {eta:.0f} s")
    if reason := payload.get("reason"):
        parts.append(str(reason))
    return ", ".join(parts)


def _cost(payload: Payload) -> str:
    return f"so far ${payload.get('soFar')}, reserved ${payload.get('reserved')}, approved ${payload.get('approved')}"


def _artifact(payload: Payload) -> str:
    return f"{payload.get('path')} ({payload.get('title')})"


def _text(payload: Payload) -> str:
    return str(payload.get("text") or "")


def _error(payload: Payload) -> str:
    return f"{payload.get('message')} {payload.get('hint') or ''}".strip()


def _plain(payload: Payload) -> str:
    return str(payload)


_PRINTERS: dict[str, Callable[[Payload], str | None]] = {
    "status": _status,
    "phase": _phase,
    "status_info": _text,
    "question": _question,
    "answer": _answer,
    "rpc": _rpc,
    "job": _job,
    "cost": _cost,
    "artifact": _artifact,
    "report": _text,
    "error": _error,
}
