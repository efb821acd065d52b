"""Finding again what an earlier try created whose answer was lost, and nothing else."""

import json
from typing import Any

from gateway.creation import expected_name, same_fields, sent_fields
from gateway.outcomes import Sent
from gateway.store import Store
from gateway.upstream import Upstream
from manifest.facts import Call
from pilotlight.clock import parse_rfc3339
from pilotlight.errors import Aborted


async def adopt(sent: Sent, platform: Upstream, store: Store) -> bytes:
    """What an earlier try created whose answer was lost: found by its name, compared, reused only if equal.

    Raises Aborted: it is not there any more, or something else has its name.
    """
    found = await _find(sent.call, platform)
    effect = sent.admission.effect
    if found is None:
        raise Aborted(
            f"{sent.call.route.method}: an earlier try was never answered, and what it may have made is not there now.",
            hint="What it may have cost is settled, and it is not sent again under this Idempotency-Key.",
        )
    if effect is not None and same_fields(sent_fields(sent.call), found):
        owner = store.owner_of(str(found.get("name")))
        created = found.get("createTime")
        mine = owner is None or owner.session == sent.principal.session
        if mine and isinstance(created, str) and _not_before(created, effect.create_time):
            return json.dumps(found).encode()
    raise Aborted(
        f"{sent.call.route.method}: something else already has this name.",
        hint="It was not created by this call, so it is left alone.",
    )


async def _find(call: Call, platform: Upstream) -> dict[str, Any] | None:
    name = expected_name(call)
    if name:
        response = await platform.get(f"/v1/{name}")
        return response.json() if response.status_code == 200 else None
    response = await platform.get(f"/v1/{call.resource}?pageSize=200")
    if response.status_code != 200:
        return None
    items: list[dict[str, Any]] = response.json().get(call.resource.rpartition("/")[2], [])
    return next((item for item in items if same_fields(sent_fields(call), item)), None)


def _not_before(created: str, started: str) -> bool:
    """Whether a resource was created after its effect began, give or take the clocks of two machines."""
    try:
        return (parse_rfc3339(created) - parse_rfc3339(started)).total_seconds() > -60
    except ValueError:
        return False
