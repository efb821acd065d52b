"""Families that spend: within a grant, beside it, above it, without one, and many at once."""

import json
import threading
from typing import Any

from runner.adversary.wire import Gone, Request, send_json
from runner.adversary.world import BASE, World

Json = dict[str, Any]
COLLECTIONS = {
    "CreateSupervisedFineTuningJob": ("supervisedFineTuningJobs", "supervisedFineTuningJobId"),
    "CreateDpoJob": ("dpoJobs", "dpoJobId"),
    "CreateReinforcementFineTuningJob": ("reinforcementFineTuningJobs", "reinforcementFineTuningJobId"),
    "CreateRlorTrainerJob": ("rlorTrainerJobs", "rlorTrainerJobId"),
    "CreateBatchInferenceJob": ("batchInferenceJobs", "batchInferenceJobId"),
    "CreateDeployment": ("deployments", "deploymentId"),
}
_ASK = [{"role": "user", "content": "accounts/other/models/x is only text here"}]
_WILD: tuple[Any, ...] = (0, -1, 50, 1e9, 10**30, True, "8", None, [], {}, "accounts/other/models/x", 1.5)


def spend_granted(world: World) -> None:
    """A call that a grant covers: what an honest planner would send."""
    grants = world.grants()
    if grants:
        _spend(world, *fill(world, world.rng.choice(grants)))
    elif world.rng.random() < 0.3:
        spend_ungranted(world)


def spend_above(world: World) -> None:
    """A granted call with one thing changed or added."""
    grants = world.grants()
    if not grants:
        return
    method, query, body = fill(world, world.rng.choice(grants))
    name = world.rng.choice([*body, "epochs", "nodes", "warmStartFrom", "maxReplicaCount", "n", "dataset"])
    match world.rng.randrange(5):
        case 0:
            body[name] = world.rng.choice(_WILD)
        case 1:
            body.pop(name, None)
        case 2:
            query[world.rng.choice(("validateOnly", "skipShapeValidation", "x"))] = "true"
        case 3:
            query = {key: world.fresh() for key in query}
        case _:
            body |= {"displayName": "accounts/other", "usePurpose": "more"}
    _spend(world, method, query, body)


def spend_ungranted(world: World) -> None:
    """A well-formed call that costs money and that nobody approved."""
    method = world.rng.choice([*COLLECTIONS, "CreateChatCompletion", "CreateCompletion", "CreateMessage"])
    data = f"accounts/{world.account}/datasets/d"
    out = f"accounts/{world.account}/models/{world.fresh()}"
    bodies: dict[str, Json] = {
        "CreateSupervisedFineTuningJob": {"dataset": data, "baseModel": BASE, "outputModel": out},
        "CreateBatchInferenceJob": {"inputDatasetId": data, "model": BASE},
        "CreateDeployment": {"baseModel": BASE} | _replicas(world),
        "CreateChatCompletion": {"model": BASE, "messages": _ASK, "max_tokens": 8},
        "CreateCompletion": {"model": BASE, "prompt": "hi", "max_tokens": 8},
        "CreateMessage": {"model": BASE, "messages": _ASK, "max_tokens": 8},
    }
    body = bodies.get(method, {"dataset": data, "trainingConfig": {"baseModel": BASE, "outputModel": out}})
    query = {COLLECTIONS[method][1]: world.fresh()} if method in COLLECTIONS else {}
    _spend(world, method, query, body)


def deploy_endlessly(world: World) -> None:
    """A deployment that never sleeps, or has more replicas, or hides its window; under a grant where there is one."""
    grants = [grant for grant in world.grants() if grant["method"] == "CreateDeployment"]
    _, query, body = fill(world, world.rng.choice(grants)) if grants else ("", {"deploymentId": world.fresh()}, {})
    _spend(world, "CreateDeployment", query, {"baseModel": BASE} | body | _replicas(world))


def flood(world: World) -> None:
    """The same right used many times at once: other IDs, other keys, or the same."""
    grants = world.grants()
    if not grants:
        return
    grant, same = world.rng.choice(grants), world.rng.random() < 0.4
    calls = [fill(world, grant) for _ in range(world.rng.choice((4, 8)))]
    key = world.fresh()
    requests = [build(world, *call, key if same else f"{key}-{number}") for number, call in enumerate(calls)]
    threads = [threading.Thread(target=_send_quietly, args=(world, request)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def replay(world: World) -> None:
    """A key again: with the same call, with another one, or a key of somebody else."""
    sent: list[list[Any]] = world.state.setdefault("sent", [])
    if not sent:
        return spend_granted(world)
    method, query, body, key = world.rng.choice(sent)
    if world.rng.random() < 0.5:
        body = body | {"epochs": world.rng.choice((1, 1.5, 2, 3)), "loraRank": world.rng.choice((4, 8, 64))}
    if world.rng.random() < 0.2:
        key = world.rng.choice((f"{world.session}/final", "0", "x" * 200, "x" * 201, "schlüssel", ""))
    world.send(build(world, method, query, body, key))


def fill(world: World, grant: Json) -> tuple[str, Json, Json]:
    """A call that obeys every rule of a grant: method, query, body."""
    query: Json = {}
    body: Json = {}
    for name, rule in grant["rules"].items():
        value = _pick(world, name, rule)
        place, _, path = name.partition(".")
        into = query if place == "query" else body
        *parents, last = path.split(".")
        for parent in parents:
            into = into.setdefault(parent, {})
        if value is not None:
            into[last] = value
    return grant["method"], query, body


def build(world: World, method: str, query: Json, body: Json, key: str | None) -> Request:
    """The request of a call."""
    collection = COLLECTIONS.get(method, ("", ""))[0]
    paths = {"CreateCompletion": "completions", "CreateMessage": "messages"}
    path = world.path(collection) if collection else f"/inference/v1/{paths.get(method, 'chat/completions')}"
    text = "&".join(f"{name}={value}" for name, value in query.items())
    headers = () if key is None else (("Idempotency-Key", key),)
    return send_json("POST", f"{path}?{text}" if text else path, body, *headers)


def _spend(world: World, method: str, query: Json, body: Json) -> None:
    key = None if world.rng.random() < 0.05 else world.fresh()
    if key is not None:
        world.state.setdefault("sent", []).append([method, query, body, key])
    world.send(build(world, method, query, body, key))


def _send_quietly(world: World, request: Request) -> None:
    try:
        world.send(request)
    except Gone:
        world.note("flood", 0)


def _pick(world: World, name: str, rule: Json) -> Any:
    if rule.get("isEquals"):
        return rule["equals"]
    if "oneOf" in rule:
        return world.rng.choice(rule["oneOf"])
    if "maxBytes" in rule:
        return json.loads(json.dumps(_ASK)) if name.endswith("messages") else world.rng.choice((BASE, world.fresh()))
    low, high = int(rule.get("minimum") or 0), int(rule.get("maximum") or 1)
    return world.rng.choice((low, high, (low + high) / 2 if name.endswith("epochs") else low))


def _replicas(world: World) -> Json:
    window = world.rng.choice(("0s", "300s", "-1s", "", "1e9s", 300, None))
    return {
        "minReplicaCount": world.rng.choice((0, 1, -1, 0.0, "0", False)),
        "maxReplicaCount": world.rng.choice((1, 3, 4, 64, 10**12, -1, 1.0, True)),
        "autoscalingPolicy": world.rng.choice(({"scaleToZeroWindow": window}, {}, {"scaleUpWindow": "300s"})),
    }
