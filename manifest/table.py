"""Writes `docs/permissions.md`, who may call what, by asking the decision itself: `python -m manifest.table`."""

import itertools
from pathlib import Path

from manifest.decide import decide
from manifest.facts import Caller, Owner, RequestFacts
from manifest.pilot import pilot_methods
from manifest.registry import Route, routes
from manifest.roles import ROLES
from pilotlight.names import CATALOGUE_ACCOUNT

ME, SESSION, ACCOUNT = "ann", "s1", "acme"
OWNERS: dict[str, Owner | None] = {
    "own": Owner(ME, SESSION),
    "other session": Owner(ME, "s2"),
    "other user": Owner("bob", ""),
    "unknown": None,
}
_HEAD = """# Who may call what

Written by `python -m manifest.table` from the decision itself, and compared with it by a test; do not edit.

One row per method: what each role may do with a key of its own, what a key with the preset `pilot` may, and what a
session may. `yes`: on any resource of the account; `own`: on what the caller created (a session: what it created
itself); `$`: only under a grant of an approved plan; empty: `PERMISSION_DENIED`, with the method and the rule. Another
account is always refused, except that methods marked `public` may read the catalogue account too. The preset and the
session columns hold for the roles that may do it with a key: the manifest comes first, and no role raises it.
Methods marked `control` are answered by the control process under the rules of its own API, and never forwarded.

| method | request | marks | {roles} | preset key | session |
| --- | --- | --- |{rule}
"""


def render() -> str:
    """The document's text."""
    seen: set[str] = set()
    rows: list[str] = []
    for route in routes().values():
        if route.method not in seen:
            seen.add(route.method)
            rows.append(_row(route))
    head = _HEAD.format(roles=" | ".join(ROLES), rule=" --- |" * (len(ROLES) + 2))
    return head + "\n".join(rows) + "\n"


def is_allowed(route: Route, caller: Caller, account: str, owner: Owner | None) -> bool:
    """One cell: the decision on the route's request without query or body."""
    path = route.path.replace("{account}", account)
    for name in route.params[1:]:
        path = path.replace(f"{{{name}}}", "x1")
    headers = [(b"content-type", b"multipart/form-data; boundary=x")] if route.body == "multipart" else []
    return decide(RequestFacts(route.verb, path.encode(), b"", headers), caller, lambda _: owner).allowed


def _row(route: Route) -> str:
    entry = pilot_methods().get(route.method)
    marks = [
        *(["control"] if route.surface == "control" else []),
        *(["public"] if route.public else []),
        *(["catalogue"] if route.action == "catalogue" else []),
        *(["cloud only"] if entry and entry.cloud_only else []),
    ]
    keys = [_cell(route, [Caller(ACCOUNT, ME, role)]) for role in ROLES]
    preset = _cell(route, [Caller(ACCOUNT, ME, role, preset="pilot") for role in ROLES])
    session = _cell(route, [Caller(ACCOUNT, ME, role, session=SESSION) for role in ROLES])
    if entry and session and entry.kind in ("spend", "infer"):
        session = "$"
    cells = [route.method, f"`{route.verb} {route.path}`", ", ".join(marks), *keys, preset, session]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _cell(route: Route, callers: list[Caller]) -> str:
    account = CATALOGUE_ACCOUNT if route.action == "catalogue" else ACCOUNT
    allowed = {
        name
        for (name, owner), caller in itertools.product(OWNERS.items(), callers)
        if is_allowed(route, caller, account, owner)
    }
    return "yes" if len(allowed) == len(OWNERS) else "own" if allowed else ""


if __name__ == "__main__":
    Path(__file__).parents[1].joinpath("docs/permissions.md").write_text(render(), "utf-8")
