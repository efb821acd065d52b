"""A platform that keeps its own log of everything that reached it, bills by its own clock, and loses answers."""

import asyncio
import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KEY = "fw_the_platform_key_of_the_campaign_0000"
Json = dict[str, Any]
HOUR_USD = Decimal("0.20")


@dataclass
class Seen:
    """One request that reached the platform, and what came of it."""

    number: int
    time: float
    """Seconds since the epoch, at arrival."""
    verb: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: Any
    """Parsed JSON, None for no body, the number of bytes for an upload."""
    code: int = 0
    created: str = ""
    """Name of what it created."""

    def to_json(self) -> Json:
        """As a line of the log file."""
        return asdict(self)


@dataclass
class Resource:
    """Something that exists, runs and costs until it ends."""

    body: Json
    start: float
    end: float | None = None
    """When it ended, or will end by itself."""
    replicas: int = 0
    """Machines that are billed while it runs."""

    def cost(self, moment: float) -> Decimal:
        """Dollars until `moment`."""
        seconds = max(0.0, min(moment, self.end or moment) - self.start)
        return Decimal(str(seconds)) * self.replicas * HOUR_USD / 3600

    def ended(self, moment: float) -> bool:
        """Whether it costs nothing more."""
        return self.end is not None and self.end <= moment


@dataclass
class FaultyPlatform:
    """`faults` is the share of requests that are late, refused with an error, or whose answer is lost."""

    seed: int
    faults: float = 0.08
    log: list[Seen] = field(default_factory=list[Seen])
    resources: dict[str, Resource] = field(default_factory=dict[str, Resource])

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)

    def app(self) -> Starlette:
        """The server's side."""
        verbs = ["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "TRACE"]
        return Starlette(routes=[Route("/{path:path}", self._serve, methods=verbs)])

    async def _serve(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode("latin-1")
        if path.startswith("/files/"):
            return Response(b'{"messages": []}\n')
        query = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        seen = Seen(len(self.log), time.time(), request.method, path, query, dict(request.headers), None)
        self.log.append(seen)
        raw = await request.body()
        is_json = request.headers.get("content-type", "").startswith("application/json")
        seen.body = json.loads(raw) if is_json and raw else len(raw) or None
        fault = self._rng.choice(("late", "before", "after", "lost")) if self._rng.random() < self.faults else ""
        if fault == "late":
            await asyncio.sleep(self._rng.random() * 1.5)
        if fault == "before":
            seen.code = self._rng.choice((500, 502, 503, 429))
            return JSONResponse({"code": 14, "message": "broken"}, seen.code)
        answer = self._answer(seen, request)
        seen.code = answer.status_code
        if fault == "after" and seen.code < 300:
            return JSONResponse({"code": 13, "message": "lost"}, 503)
        if fault == "lost" and len(answer.body) < 60_000:  # the connection breaks off in the middle of the answer
            answer.headers["content-length"] = str(len(answer.body) + 100)
        return answer

    def _answer(self, seen: Seen, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"code": 16, "message": "no key"}, 401)
        if seen.path.endswith(("/chat/completions", "/completions", "/messages")):
            return JSONResponse({"choices": [{"message": {"role": "assistant", "content": "hi"}}]})
        if seen.path.endswith("/models") and "accounts" not in seen.path:
            return JSONResponse({"data": []})
        if seen.path.endswith("/billingUsage"):
            return JSONResponse({"dedicatedCosts": self._usage()})
        return self._resource(seen)

    def _usage(self) -> list[Json]:
        now = time.time()
        running = [(name, item) for name, item in self.resources.items() if "/deployments/" in name]
        return [
            {
                "acceleratorSeconds": str(item.cost(now) * 3600 / HOUR_USD),
                "group": {"deployment_name": name.rpartition("/")[2]},
            }
            for name, item in running
        ]

    def _resource(self, seen: Seen) -> Response:
        name, _, custom = seen.path.removeprefix("/v1/").partition(":")
        if seen.verb == "POST" and not custom:
            return self._create(name, seen)
        if custom == "getDownloadEndpoint":
            return JSONResponse({"filenameToSignedUrls": {"rows.jsonl": "/files/rows.jsonl"}})
        if name.count("/") == 2:
            items = [self._show(key) for key in self.resources if key.startswith(f"{name}/")]
            return JSONResponse({name.rpartition("/")[2]: items[-50:]})
        found = self.resources.get(name)
        if found is None and name.count("/") > 1:
            return JSONResponse({"code": 5, "message": f"{name} not found"}, 404)
        if found is not None and (custom == "cancel" or seen.verb == "DELETE"):
            found.end = min(found.end or time.time(), time.time())
            found.body["state"] = "JOB_STATE_CANCELLED" if custom else "DELETED"
        return JSONResponse(self._show(name) if found else {"name": name})

    def _create(self, parent: str, seen: Seen) -> Response:
        body = seen.body if isinstance(seen.body, dict) else {}
        ids = [
            value for key, value in (dict(seen.query) | body).items() if key.endswith("Id") and key != "inputDatasetId"
        ]
        collection = parent.replace("evaluatorsV2", "evaluators")
        name = f"{collection}/{ids[0] if ids else 'auto-' + str(seen.number)}"
        outputs = _outputs(body)
        if name in self.resources or any(output in self.resources for output in outputs):
            return JSONResponse({"code": 6, "message": "exists"}, 409)
        now, job = time.time(), "Job" in collection
        replicas = int(body.get("maxReplicaCount") or 1) if collection.endswith("/deployments") else int(job)
        end = now + self._rng.uniform(0.2, 6) if job else None
        fields = next((body[key] for key in ("dataset", "model", "evaluator") if isinstance(body.get(key), dict)), body)
        created = {"name": name, "createTime": datetime.now(UTC).isoformat().replace("+00:00", "Z")}
        self.resources[name] = Resource(fields | created, now, end, replicas)
        for output in outputs:
            self.resources[output] = Resource({"name": output, "state": "READY"} | created, now)
        seen.created = name
        return JSONResponse(self._show(name))

    def _show(self, name: str) -> Json:
        item, now = self.resources[name], time.time()
        if "Job" not in name:
            return {"state": "READY"} | item.body
        cost = item.cost(now)
        money = {"units": str(int(cost)), "nanos": int((cost - int(cost)) * 10**9)}
        state = "JOB_STATE_COMPLETED" if item.ended(now) else "JOB_STATE_RUNNING"
        return {"state": state} | item.body | {"estimatedCost": money}


def _outputs(body: Json) -> list[str]:
    inner = body.get("trainingConfig")
    found = [body.get("outputModel"), inner.get("outputModel") if isinstance(inner, dict) else None]
    return [name for name in found if isinstance(name, str)]
