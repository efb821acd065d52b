"""The whole decision, in one place and one order; no match means refusal.

parse -> which method -> manifest -> surface -> account of the path -> query, body -> role -> what the session created.
Spend is checked by the gateway afterwards: it needs the ledger.
"""

from typing import Any

from manifest.facts import Call, Caller, Owner, OwnerLookup, Refusal, RequestFacts, Verdict
from manifest.grammar import check_headers, parse_json, parse_path, parse_query
from manifest.pilot import PRESETS, pilot_methods
from manifest.references import Reader
from manifest.registry import Route
from manifest.roles import may
from manifest.types import PilotEntry
from pilotlight.names import CATALOGUE_ACCOUNT


def unknown_owner(_name: str) -> Owner | None:
    """The lookup of a caller that keeps no record: nothing is known to be anyone's own."""
    return None


def decide(request: RequestFacts, caller: Caller, owner_of: OwnerLookup = unknown_owner) -> Verdict:
    """Decide one request. Never raises for a bad request: that is a verdict."""
    method, resource, kind = "", "", ""
    try:
        route, path, params = parse_path(request.verb, request.raw_path)
        entry = pilot_methods().get(route.method)
        method, kind = route.method, entry.kind if entry else route.action
        call = Call(route, path, params, [])
        resource = call.resource
        check_headers(request.headers, route)
        _check_ceiling(route, entry, caller)
        _check_path_account(route, params, caller)
        call = _parse(request, call, caller)
        _check_withheld(call, entry, caller)
        _check_role(call, caller, owner_of)
        _check_created(call, entry, caller, owner_of)
    except Refusal as refusal:
        return Verdict(method, resource, kind, False, refusal.rule, refusal.reason, refusal.status)
    return Verdict(method, resource, kind, True, "allowed", "", call=call)


def _check_ceiling(route: Route, entry: PilotEntry | None, caller: Caller) -> None:
    if caller.preset is not None and caller.preset not in PRESETS:
        raise Refusal("manifest", f"The preset {caller.preset[:60]!r} does not exist, so it permits nothing.")
    if caller.bound and entry is None:
        raise Refusal("manifest", f"{route.method} is not in the capability manifest of the preset pilot.")
    if route.sessions_only and caller.session is None:
        raise Refusal("session", f"{route.method} is for the runner of a session, never for a key.")
    if route.surface == "control":
        raise Refusal("surface", f"{route.method} is answered by the control process and never forwarded.")
    if caller.session is None and entry is not None and caller.bound and entry.kind in ("spend", "infer"):
        raise Refusal(
            "spend",
            f"{route.method} costs money: a key with the preset pilot spends only inside a session with an "
            "approved plan. Start one with `firectl session create`.",
        )


def _check_path_account(route: Route, params: dict[str, str], caller: Caller) -> None:
    account = params.get("account")
    if route.action == "catalogue":
        if account != CATALOGUE_ACCOUNT:
            raise Refusal("account", f"{route.method} is a method of the account {CATALOGUE_ACCOUNT!r} only.")
        return
    if account is None or account == caller.account:
        return
    if not (route.public and route.action == "read"):
        raise Refusal("account", f"{route.method} is limited to the caller's own account, not {account!r}.")
    if account != CATALOGUE_ACCOUNT:
        raise Refusal(
            "account", f"{route.method} may read {CATALOGUE_ACCOUNT!r}, the public catalogue, not {account!r}."
        )


def _parse(request: RequestFacts, head: Call, caller: Caller) -> Call:
    route, reader = head.route, Reader(caller, head.route.method)
    query = parse_query(request.query, route)
    reader.read_query(query, route.query)
    body = None
    if request.body is not None and route.body in ("json", "empty"):
        body = parse_json(request.body) if request.body.strip() else {}
        reader.read_body(body, route.fields)
    if request.body and route.body == "none":
        raise Refusal("body", f"{route.method} takes no body.", "INVALID_ARGUMENT")
    return Call(route, head.path, head.params, query, body, reader.references)


def _check_withheld(call: Call, entry: PilotEntry | None, caller: Caller) -> None:
    if not caller.bound or entry is None:
        return
    for field in entry.withheld:
        where, *path = field.split(".")
        value: Any = dict(call.query) if where == "query" else call.body
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            raise Refusal("manifest", f"{call.route.method}: the preset pilot does not include the field {field}.")


def _check_role(call: Call, caller: Caller, owner_of: OwnerLookup) -> None:
    action = call.route.action
    owns = False
    if action == "keys":
        owns = call.params.get("user") == caller.user
    elif action in ("change", "delete") and caller.role == "contributor":
        owner = owner_of(call.resource)
        owns = owner is not None and bool(caller.user) and owner.user == caller.user
    if not may(caller.role, action, owns=owns):
        whose = "" if action in ("create", "users", "catalogue") else " of others"
        raise Refusal("role", f"{call.route.method}: the role {caller.role} may not {action} resources{whose}.")


def _check_created(call: Call, entry: PilotEntry | None, caller: Caller, owner_of: OwnerLookup) -> None:
    """A bound caller adds to nothing but what it made itself [A88]."""
    if not caller.bound or entry is None:
        return
    names = [name for access, name in call.references if access == "own"]
    if entry.target == "created":
        names.append(call.resource)
    for name in names:
        if not _is_mine(owner_of(name), caller):
            raise Refusal("created", f"{call.route.method}: {name} was not created by this session.")
    for name in (name for access, name in call.references if access == "new"):
        owner = owner_of(name)
        if owner is not None and not _is_mine(owner, caller):
            raise Refusal("created", f"{call.route.method}: {name} exists and was not created by this session.")


def _is_mine(owner: Owner | None, caller: Caller) -> bool:
    if owner is None:
        return False
    mine, theirs = (caller.session, owner.session) if caller.session is not None else (caller.user, owner.user)
    return bool(mine) and mine == theirs
