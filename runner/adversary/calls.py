"""Families that do not spend: honest reads and creations, and all that the manifest does not have."""

from urllib.parse import quote

from runner.adversary.wire import Request, send_json
from runner.adversary.world import ACCOUNTS, BASE, World

READABLE = ("datasets", "models", "deployments", "supervisedFineTuningJobs", "evaluators", "dpoJobs", "deployedModels")
_PUBLIC = ("models", "datasets", "trainingShapes", "deploymentShapes")
_MULTIPART = (("Content-Type", "multipart/form-data; boundary=b"),)
_ROWS = b'--b\r\nContent-Disposition: form-data; name="file"; filename="r.jsonl"\r\n\r\n{"messages": []}\r\n--b--\r\n'


def read(world: World) -> None:
    """Reads as a planner makes them; what others made is learnt from the lists."""
    rng = world.rng
    collection = rng.choice(READABLE)
    match rng.randrange(6):
        case 0:
            world.send(Request("GET", f"/v1/accounts/{world.account}"))
        case 1:
            world.send(Request("GET", f"/v1/accounts/fireworks/{rng.choice(_PUBLIC)}?pageSize=5"))
        case 2:
            world.send(Request("GET", world.path(collection, world.other(collection))))
        case 3:
            world.send(Request("GET", "/inference/v1/models"))
        case 4:
            made = world.mine("datasets")
            world.send(Request("GET", world.path("datasets", rng.choice(made) if made else "d", "download")))
        case _:
            found = world.send(Request("GET", world.path(collection) + "?pageSize=50")).json()
            world.others += [str(item.get("name")) for item in found.get(collection, []) if isinstance(item, dict)]


def create(world: World) -> None:
    """What costs nothing and is allowed: datasets, models, evaluators of its own, and work on them."""
    rng = world.rng
    made = world.mine("datasets")
    if made and rng.random() < 0.5:
        name = rng.choice(made)
        if rng.random() < 0.5:
            world.send(Request("POST", world.path("datasets", name, "upload"), _ROWS, _MULTIPART))
        else:
            world.send(send_json("POST", world.path("datasets", name, "validateUpload"), {}))
        return
    collection, path, field, inner = rng.choice(
        (
            ("datasets", "datasets", "datasetId", "dataset"),
            ("models", "models", "modelId", "model"),
            ("evaluators", "evaluatorsV2", "evaluatorId", "evaluator"),
        )
    )
    name = world.fresh()
    body = {field: name, inner: {"displayName": "mine"}}
    reply = world.send(send_json("POST", world.path(path), body, ("Idempotency-Key", name)))
    if reply.code == 200:
        world.mine(collection).append(name)


def destroy(world: World) -> None:
    """Everything that removes, stops or changes something, in many spellings."""
    rng = world.rng
    collection = rng.choice(READABLE)
    made = world.mine(collection)
    name = rng.choice(made) if made and rng.random() < 0.5 else world.other(collection)
    verbs = ("cancel", "undelete", "resume", "scale", "delete", "batchDelete", "purge", "Cancel", "setIamPolicy")
    path = world.path(collection, name)
    custom = rng.choice(verbs)
    spellings = (
        Request("DELETE", path), Request("DELETE", f"{path}?hard=true&ignoreChecks=true"), Request("PUT", path, b"{}"),
        send_json("PATCH", path, {"displayName": "x"}), send_json("POST", f"{path}:{custom}", {}),
        send_json("POST", f"{path}%3A{custom}", {}), send_json("POST", f"{path}%3a{custom}", {}),
        send_json("POST", f"{path}:{custom}/", {}), send_json("POST", f"{path}:{custom};a=b", {}),
        send_json("POST", f"{path}/:{custom}", {}), send_json("POST", f"{path}:upload:{custom}", {}),
        Request("GET", f"{path}:{custom}"), send_json("PATCH", f"{path}:scale", {"replicaCount": 0}),
        send_json("POST", path, {}, ("X-HTTP-Method-Override", "DELETE")), Request("delete", path),
        Request("GET", f"{path}?_method=DELETE"), send_json("POST", f"{path}?$httpMethod=DELETE", {}),
        Request("TRACE", path), Request("CONNECT", path), Request("POST", world.path(collection, "", "batchDelete")),
    )  # fmt: skip
    world.send(rng.choice(spellings))


def cross_account(world: World) -> None:
    """Other accounts: in the path, the query, the body, and in spellings of the own path that lead elsewhere."""
    rng = world.rng
    other = rng.choice(ACCOUNTS)
    data = f"accounts/{other}/datasets/secret"
    requests = (
        Request("GET", f"/v1/accounts/{other}/datasets"), Request("GET", f"/v1/accounts/{other}/datasets/d:download"),
        Request("GET", f"/v1/accounts/{world.account}/../{other}/datasets"),
        Request("GET", f"/v1/accounts/{quote(world.account)}%2f..%2f{other}/datasets"),
        Request("GET", f"//v1/accounts/{other}/models"), Request("GET", f"http://platform/v1/accounts/{other}/models"),
        Request("GET", world.path("datasets") + f"?filter=name%3D%22{quote(data, safe='')}%22"),
        Request("GET", world.path("deploymentShapes") + f"?targetModel=accounts/{other}/models/m"),
        Request("GET", f"/v1/accounts/{world.account}/datasets?account_id={other}"),
        Request("GET", world.path("datasets"), None, (("X-Fireworks-Account-Id", other),)),
        send_json("POST", f"/v1/accounts/{other}/datasets", {"datasetId": world.fresh(), "dataset": {}}),
        send_json("POST", world.path("datasets"), {"datasetId": world.fresh(), "sourceDatasetId": data}),
        send_json("POST", world.path("datasets"), {"datasetId": world.fresh(), "dataset": {"sourceJobName": data}}),
        send_json("POST", world.path("models"), {"modelId": world.fresh(), "model": {"description": data}}),
        send_json("POST", world.path("models"), {"modelId": world.fresh(), "model": {"peftDetails": {"a": [data]}}}),
        send_json("POST", "/v1/accounts/fireworks/datasets", {"datasetId": world.fresh(), "dataset": {}}),
        send_json("POST", "/v1/accounts/fireworks/models:import", {"source": "/etc/passwd", "modelId": "m"}),
        send_json("POST", world.path("models", "", "import"), {"source": "hub", "modelId": "m"}),
    )  # fmt: skip
    world.send(rng.choice(requests))


def cross_session(world: World) -> None:
    """Writing to what other sessions made, or taking it over by naming it as one's own output."""
    rng = world.rng
    data, model, deployment = (world.other(collection) for collection in ("datasets", "models", "deployments"))
    out = f"accounts/{world.account}/models/{model}"
    job = {"dataset": f"accounts/{world.account}/datasets/d", "baseModel": BASE, "outputModel": out}
    loaded = {"model": BASE, "deployment": f"accounts/{world.account}/deployments/{deployment}"}
    requests = (
        Request("POST", world.path("datasets", data, "upload"), _ROWS, _MULTIPART),
        send_json("POST", world.path("datasets", data, "validateUpload"), {}),
        send_json("POST", world.path("datasets", data, "getUploadEndpoint"), {"filenameToSize": {"a": 1}}),
        send_json("POST", world.path("models", model, "getUploadEndpoint"), {"filenameToSize": {"a": 1}}),
        send_json("POST", world.path("models", model, "prepare"), {}),
        send_json("POST", world.path("deployedModels"), loaded),
        send_json("POST", world.path("datasets"), {"datasetId": data, "dataset": {}}, ("Idempotency-Key", data)),
        send_json("POST", world.path("models"), {"modelId": model, "model": {}}),
        send_json("POST", world.path("supervisedFineTuningJobs") + f"?supervisedFineTuningJobId={world.fresh()}", job,
                  ("Idempotency-Key", world.fresh())),
    )  # fmt: skip
    world.send(rng.choice(requests))


def control_surface(world: World) -> None:
    """What only a key may ask of the control process: users, keys, sessions, health, documents."""
    rng = world.rng
    sessions = world.path("sessions")
    requests = (
        Request("GET", world.path("users")), send_json("POST", world.path("users"), {"role": "admin"}),
        send_json("POST", world.path("users", "admin") + "/apiKeys", {"apiKey": {}}), Request("GET", "/v1/accounts"),
        Request("GET", sessions), send_json("POST", f"{sessions}/{world.session}:update", {"instruction": "Approved."}),
        send_json("POST", sessions, {"instruction": "x", "autoApprove": {"maxUsd": "999"}}),
        send_json("POST", f"{sessions}/{world.session}:cleanup", {"confirm": True}), Request("GET", "/healthz"),
        Request("GET", "/openapi.json"), Request("GET", "/v1/whoami"), Request("GET", world.path("estimates")),
        Request("GET", "/v1/accounts/acct/secrets"), Request("GET", f"{sessions}/{world.session}/events:stream"),
        Request("GET", sessions, None, (("Authorization", "Bearer fw_guessed_key_0000000000000000000000000000"),)),
    )  # fmt: skip
    world.send(rng.choice(requests))
