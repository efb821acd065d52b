"""A closed world in both directions: what the servers serve is in the registry, what the manifest grants is served."""

import re
from collections.abc import Generator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import SecretStr
from starlette.routing import BaseRoute

from agent.app import build_app as build_control
from local_platform.app import build_app as build_platform
from local_platform.unoffered import UNOFFERED
from manifest.decide import decide
from manifest.facts import Caller, RequestFacts
from manifest.pilot import load_pilot, pilot_methods
from manifest.registry import route_of, routes
from pilotlight.settings import Settings
from tests.fixtures.databases import Databases

SESSION, ADMIN = Caller("local", "ann", "admin", session="s1"), Caller("local", "ann", "admin")
NO_METHODS = {
    "/docs": "a page",
    "/docs/oauth2-redirect": "a page",
    "/signed/uploads/{}/{}": "the signature in the URL is the credential; no path of the API",
    "/signed/files/{}": "the same",
}
FRONT = "forward_user"
"""The control process's front door: it decides nothing itself."""


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases) -> Generator[dict[str, FastAPI]]:
    """Both servers' applications, as they run."""
    home = tmp_path_factory.mktemp("home")
    url = module_databases.url(home / "control.db")
    settings = Settings(home=home, database_url=url, platform_calibrate=False, platform_key=SecretStr("x"))
    apps = {"platform": build_platform(settings), "control": build_control(settings)}
    yield apps
    apps["platform"].state.platform.engine.dispose()
    apps["control"].state.control.gateway.close()
    apps["control"].state.control.engine.dispose()


def served(app: FastAPI) -> dict[tuple[str, str], BaseRoute]:
    """(verb, shape) -> route, without HEAD, which answers like GET and is refused by the gateway."""
    found: dict[tuple[str, str], BaseRoute] = {}
    for context in iter_route_contexts(app.routes):
        shape = re.sub(r"\{\w+(?::path)?\}", "{}", context.path or "")
        shape = re.sub(r"^/v1/accounts/fireworks\b", "/v1/accounts/{}", shape)
        for verb in set(context.methods or ()) - {"HEAD"}:
            found[verb, shape] = context.original_route
    return found


def endpoint(route: BaseRoute) -> str:
    return route.endpoint.__name__ if isinstance(route, APIRoute) else ""


@pytest.mark.parametrize("name", ["platform", "control"])
def test_every_route_that_is_served_is_in_the_registry(apps: dict[str, FastAPI], name: str) -> None:
    known = 0
    for (verb, shape), route in served(apps[name]).items():
        if (verb, shape) in routes():
            known += 1
        elif shape in NO_METHODS:
            facts = RequestFacts(verb, shape.replace("{}", "x1").encode())
            assert decide(facts, ADMIN).rule == "unknown-method"
        else:
            assert endpoint(route) in (FRONT, "refuse"), f"{verb} {shape} is served and not in the registry"
    assert known > 20


def test_what_the_platform_does_not_offer_is_refused_whole(apps: dict[str, FastAPI]) -> None:
    refused = {shape for (_, shape), route in served(apps["platform"]).items() if endpoint(route) == "refuse"}
    bases = [f"/v1/accounts/{{}}/{collection}" for collection in UNOFFERED]
    assert refused == {base + rest for base in bases for rest in ("", ":{}", "/{}")}


def is_offered(method: str, platform: dict[tuple[str, str], BaseRoute]) -> bool:
    shapes = [key for key, route in routes().items() if route.method == method]
    return any(key in platform and endpoint(platform[key]) != "refuse" for key in shapes)


def test_every_method_of_the_manifest_is_served_or_marked(apps: dict[str, FastAPI]) -> None:
    platform = served(apps["platform"])
    for entry in load_pilot().entries():
        if not entry.routable:
            assert (entry.verb, entry.path, entry.cloud_only) == (None, None, False)
        elif route_of(entry.method).surface == "gateway":
            of_gateway = {"DownloadDataset", "DownloadEvaluatorSource", "UploadEvaluatorSource", "CreatePlannerMessage"}
            assert entry.method in of_gateway
        else:
            assert is_offered(entry.method, platform) is not entry.cloud_only, entry.method


def test_what_the_control_process_answers_itself_is_never_forwarded(apps: dict[str, FastAPI]) -> None:
    own = {key for key, route in served(apps["control"]).items() if endpoint(route) != FRONT and key in routes()}
    both = {key for key in own if routes()[key].surface != "control"}
    assert {routes()[key].method for key in both} == {"GetAccount"}, "read by runners at the platform"
    missing = {key for key, route in routes().items() if route.surface == "control"} - own
    assert not missing, f"in the registry as the control process's, but it does not serve them: {missing}"


def test_nothing_of_the_control_process_is_within_the_manifest(apps: dict[str, FastAPI]) -> None:
    for verb, shape in served(apps["control"]):
        route = routes().get((verb, shape))
        if route is not None and route.surface == "control":
            verdict = decide(RequestFacts(verb, shape.replace("{}", "local").encode()), SESSION)
            assert (verdict.allowed, verdict.rule, verdict.method) == (False, "manifest", route.method)
            assert route.method in verdict.reason
            assert route.method not in pilot_methods()


@pytest.mark.parametrize("key", sorted(routes()), ids=lambda key: f"{key[0]} {key[1]}")
def test_every_refusal_names_the_method(key: tuple[str, str]) -> None:
    path = key[1].replace("/{}", "/x1")
    for caller in (SESSION, Caller("local", "ann", "nobody"), Caller("local", "ann", preset="other")):
        verdict = decide(RequestFacts(key[0], path.encode(), b"zz=1", [(b"x-a", b"b")], b"{"), caller)
        assert not verdict.allowed
        assert verdict.method == routes()[key].method
        assert verdict.method in verdict.reason or verdict.status == "INVALID_ARGUMENT" or verdict.rule == "manifest"
        assert verdict.rule
