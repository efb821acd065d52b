"""A scripted control process on a real Unix socket: the Turn API, an effects ledger, grants, and a small platform."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import prompts
from pilotlight.plan import Plan, canonical_json
from pilotlight.pricebook import load_prices
from pilotlight.question import Answer, Decision, Question
from runner.client import Client
from runner.context import TurnContext
from runner.planner import open_saver, run_turn
from runner.turn import Turn
from runner.workspace import Workspace

ACCOUNT, SESSION = "local", "1779157376-41e1"
DATASET = f"accounts/{ACCOUNT}/datasets/tickets"
BASES = {"ember-500k": 530_000, "ember-1m": 1_050_000}


class Control:
    """State of one session and of the platform, kept in dicts. Grants are enforced: an ungranted spend call is 403."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.instructions: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.plans: dict[str, Plan] = {}
        self.questions: dict[str, Question] = {}
        self.answers: dict[str, Answer] = {}
        self.grants: list[Any] = []
        self.finished: dict[str, str] | None = None
        self.budget: str | None = None
        self.effects: dict[str, tuple[str, dict[str, Any]]] = {}
        self.applied: list[str] = []
        self.datasets: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.loras: dict[str, dict[str, Any]] = {}
        self.chats: list[dict[str, Any]] = []
        self.downloads = 0
        self.asleep = 2
        self.failing: set[str] = set()
        self.stuck: set[str] = set()
        """Jobs, by the end of their ID, that stay at their first step."""
        self.stopped: set[str] = set()
        """Jobs, by the end of their ID, that the runner had stopped."""
        self.patience = 1800.0
        """The session's no-progress limit, in seconds."""
        self.limited: dict[str, int] = {}
        """Per job, by the end of its ID: after so many of its three steps it is ended at its approved cost."""
        self.ended: list[dict[str, Any]] = []
        self.tells_ended = True
        """False: what is in `limited` was cancelled by hand."""
        self.lost: set[str] = set()
        """Deployments, by the end of their ID, that are ended at their time limit before they are ready."""
        self.refusing: dict[str, str] = {}
        """Per method: the rule that the gateway refuses it by."""
        self.so_far = "0.010000"
        self.loss: Callable[[dict[str, Any]], float] = lambda body: 0.4 + abs(16 - body["loraRank"]) / 100
        self.base_loss = 4.5
        self.epoch = 0
        self.requests = 0
        self.kill_at = -1
        self.kill_late = False
        """Whether the request is still carried out before the runner dies."""
        self.victim = 0
        self.kills = 0

    def add_dataset(self, name: str, rows: list[dict[str, Any]] | bytes) -> None:
        content = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
        digest = hashlib.sha256(content).hexdigest()
        self.files[name] = content
        self.datasets[name] = {"name": name, "state": "READY", "format": "CHAT", "contentHash": digest}
        self.datasets[name]["exampleCount"] = str(content.count(b"\n"))

    def ask_open(self) -> Question:
        """The question without an answer."""
        (question,) = [q for q in self.questions.values() if q.question_id not in self.answers]
        return question

    def reply(self, text: str = "", decision: Decision | None = None, **changes: Any) -> None:
        """Answer the open question as the agent would; approving writes its grants."""
        question = self.ask_open()
        if question.kind != "missing_input" and decision is None:
            decision = Decision.APPROVE
        if decision is Decision.APPROVE and question.plan_hash:
            plan = self.plans[question.plan_hash]
            gate = "promotion" if question.kind == "promotion" else "plan_approval"
            self.grants = [g for g in self.grants if g in plan.grants]
            self.grants += [g for g in plan.grants if g.gate == gate and g not in self.grants]
        self.answers[question.question_id] = Answer(
            question_id=question.question_id,
            text=text,
            decision=decision,
            changes=changes,
            plan_hash=question.plan_hash,
        )

    def end(self, resource: str, limit: str = "cost") -> None:
        """What the reaper does at an approved limit, as the Turn API tells it."""
        if self.tells_ended and all(ended["resource"] != resource for ended in self.ended):
            reason = f"ended at its approved {limit}, $0.03"
            amounts = {"approved": "0.030000", "spent": "0.030000", "settled": True}
            self.ended.append({"resource": resource, "limit": limit, "reason": reason, **amounts})

    def forget_end(self) -> None:
        """As after a reopening of the session."""
        self.finished = None

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event["payload"] for event in self.events if event["type"] == kind]


def _error(code: int, status: str, message: str, **headers: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "status": status, "message": message}}, code, headers)


def _refusal(method: str, rule: str) -> JSONResponse:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": rule, "domain": "pilotlight.gateway"}
    code, status = (
        (403, "PERMISSION_DENIED") if rule in ("spend.expired", "spend.rules") else (429, "RESOURCE_EXHAUSTED")
    )
    error = {"code": code, "status": status, "message": f"{method} was refused by {rule}", "details": [info]}
    return JSONResponse({"error": error}, code)


class Server:
    """HTTP for a Control."""

    def __init__(self, control: Control) -> None:
        self.c = control
        turn, acct = "/turn/v1", "/v1/accounts/{account}"
        self.app = Starlette(
            middleware=[Middleware(BaseHTTPMiddleware, dispatch=self._maybe_kill)],
            routes=[
                Route(f"{turn}/context", self.context),
                Route(f"{turn}/events", self.events, methods=["POST"]),
                Route(f"{turn}/plan", self.plan, methods=["POST"]),
                Route(f"{turn}/question", self.question, methods=["POST"]),
                Route(turn + "/answers/{id}", self.answer),
                Route(f"{turn}/cost", self.cost),
                Route(f"{turn}/finish", self.finish, methods=["POST"]),
                Route(f"{turn}/stopJobs", self.stop_jobs, methods=["POST"]),
                Route(f"{acct}/datasets", self.list_datasets),
                Route(f"{acct}/datasets", self.create_dataset, methods=["POST"]),
                Route(acct + "/datasets/{id}:download", self.download),
                Route(acct + "/datasets/{id}:upload", self.upload, methods=["POST"]),
                Route(acct + "/datasets/{id}:validateUpload", self.validate, methods=["POST"]),
                Route(acct + "/datasets/{id}", self.get_dataset),
                Route(f"{acct}/models", self.models),
                Route(f"{acct}/trainingShapes", self.shapes),
                Route(f"{acct}/supervisedFineTuningJobs", self.create_job, methods=["POST"]),
                Route(acct + "/supervisedFineTuningJobs/{id}", self.get_job),
                Route(f"{acct}/deployments", self.create_deployment, methods=["POST"]),
                Route(acct + "/deployments/{id}", self.get_deployment),
                Route(f"{acct}/deployedModels", self.load, methods=["POST"]),
                Route(acct + "/deployedModels/{id}", self.get_lora),
                Route("/inference/v1/chat/completions", self.chat, methods=["POST"]),
            ],
        )

    async def _maybe_kill(self, request: Request, go_on: Any) -> Response:
        """Kill the runner when it sends its n-th request, before or after the request is carried out."""
        with self.c.lock:
            self.c.requests += 1
            strike = self.c.requests == self.c.kill_at
        if not strike:
            return await go_on(request)
        response = await go_on(request) if self.c.kill_late else Response(status_code=503)
        self.c.kills += 1
        os.kill(self.c.victim, signal.SIGKILL)
        return response

    # Turn API
    async def context(self, _: Request) -> Response:
        c = self.c
        said = [{"text": text, "time": "2026-11-21T00:00:00Z"} for text in c.instructions[1:]]
        return JSONResponse(
            {
                "session": SESSION,
                "account": ACCOUNT,
                "turn": 1,
                "epoch": c.epoch,
                "instruction": c.instructions[0],
                "instructions": said,
                "scope": "optimize",
                "status": "running",
                "budgetUsd": c.budget,
                "backend": "local",
                "publicUrl": "http://127.0.0.1:8787",
                "prices": load_prices("local").model_dump(mode="json"),
                "estimateRatio": None,
                "noProgressSeconds": c.patience,
                "graphVersion": None,
            }
        )

    async def events(self, request: Request) -> Response:
        body = await request.json()
        with self.c.lock:
            for event in body["events"]:
                assert len(json.dumps(event["payload"])) < 65536
                if event["key"] not in self.c.keys:
                    self.c.keys.add(event["key"])
                    self.c.events.append(event)
        return JSONResponse({"lastSeq": len(self.c.events)})

    async def plan(self, request: Request) -> Response:
        plan = Plan.model_validate(await request.json())
        self.c.plans[plan.digest()] = plan
        return JSONResponse({"planHash": plan.digest(), "planMarkdown": prompts.render_plan(plan)})

    async def question(self, request: Request) -> Response:
        question = Question.model_validate(await request.json())
        known = self.c.questions.setdefault(question.question_id, question)
        if known != question:
            return _error(409, "ABORTED", "another question has this ID")
        return JSONResponse({"questionId": question.question_id})

    async def answer(self, request: Request) -> Response:
        found = self.c.answers.get(request.path_params["id"])
        if found is None:
            return _error(404, "NOT_FOUND", "no answer")
        return JSONResponse(found.model_dump(mode="json", by_alias=True))

    async def cost(self, _: Request) -> Response:
        known = {"soFar": self.c.so_far, "reserved": "0", "approved": "1", "lines": [], "running": []}
        return JSONResponse(known | {"ended": self.c.ended})

    async def finish(self, request: Request) -> Response:
        self.c.finished = await request.json()
        return JSONResponse({})

    async def stop_jobs(self, _: Request) -> Response:
        """As the control process does it: all of the session that have not ended."""
        running = [
            name for name, job in self.c.jobs.items() if job["state"] in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING")
        ]
        for name in running:
            self.c.jobs[name]["state"] = "JOB_STATE_CANCELLED"
            self.c.stopped.add(name.split("41e1-")[1])
        return JSONResponse({"jobs": []})

    # Platform
    async def _effect(
        self, request: Request, make: Callable[[dict[str, Any]], dict[str, Any]], method: str = ""
    ) -> Response:
        raw = await request.body()
        body = json.loads(raw) if raw else {}
        key = request.headers["idempotency-key"]
        digest = canonical_json([request.url.path, dict(request.query_params), body])
        with self.c.lock:
            if key in self.c.effects:
                known, reply = self.c.effects[key]
                return JSONResponse(reply) if known == digest else _error(409, "ABORTED", f"{key} was another request")
            if rule := self.c.refusing.get(method):
                return _refusal(method, rule)
            if method and not self._granted(method, dict(request.query_params), body):
                return _error(403, "PERMISSION_DENIED", f"no grant covers this {method}")
            reply = make(body)
            self.c.effects[key] = (digest, reply)
            self.c.applied.append(key)
        return JSONResponse(reply)

    def _granted(self, method: str, query: dict[str, str], body: dict[str, Any]) -> bool:
        sent = {f"query.{k}": v for k, v in query.items()} | {f"body.{k}": v for k, v in body.items()}
        return any(
            grant.method == method
            and all(name in grant.rules and grant.rules[name].allows(v) for name, v in sent.items())
            for grant in self.c.grants
        )

    async def list_datasets(self, _: Request) -> Response:
        return JSONResponse({"datasets": list(self.c.datasets.values())})

    def _name(self, request: Request, collection: str) -> str:
        return f"accounts/{request.path_params['account']}/{collection}/{request.path_params['id']}"

    async def get_dataset(self, request: Request) -> Response:
        found = self.c.datasets.get(self._name(request, "datasets"))
        return JSONResponse(found) if found else JSONResponse({"code": 5, "message": "not found", "details": []}, 404)

    async def create_dataset(self, request: Request) -> Response:
        def make(body: dict[str, Any]) -> dict[str, Any]:
            name = f"accounts/{ACCOUNT}/datasets/{body['datasetId']}"
            self.c.datasets[name] = {"name": name, "state": "UPLOADING"}
            return self.c.datasets[name]

        return await self._effect(request, make)

    async def upload(self, request: Request) -> Response:
        name = self._name(request, "datasets")
        async with request.form() as form:
            part: Any = form["file"]
            self.c.files[name] = await part.read()
        self.c.datasets[name]["contentHash"] = hashlib.sha256(self.c.files[name]).hexdigest()
        return JSONResponse({})

    async def validate(self, request: Request) -> Response:
        self.c.datasets[self._name(request, "datasets")]["state"] = "READY"
        return JSONResponse({})

    async def download(self, request: Request) -> Response:
        self.c.downloads += 1
        return Response(self.c.files[self._name(request, "datasets")])

    async def models(self, request: Request) -> Response:
        if request.path_params["account"] != "fireworks":
            return JSONResponse({"models": []})
        return JSONResponse({"models": [_model(name, count) for name, count in BASES.items()]})

    async def shapes(self, _: Request) -> Response:
        speed = {
            "trainTokensPerSecond": 4000,
            "evalTokensPerSecond": 12000,
            "generateTokensPerSecond": 800,
            "startupSeconds": 8,
            "concurrentJobs": 2,
            "defaultBatchTokens": 576,
        }
        names = [f"accounts/fireworks/models/{name}" for name in BASES]
        return JSONResponse({"trainingShapes": [{"baseModel": name, "localThroughput": speed} for name in names]})

    async def create_job(self, request: Request) -> Response:
        identifier = request.query_params["supervisedFineTuningJobId"]

        def make(body: dict[str, Any]) -> dict[str, Any]:
            name = f"accounts/{ACCOUNT}/supervisedFineTuningJobs/{identifier}"
            assert body["dataset"] in self.c.datasets
            self.c.jobs[name] = {"name": name, "state": "JOB_STATE_PENDING", "looks": 0, **body}
            return self.c.jobs[name]

        return await self._effect(request, make, "CreateSupervisedFineTuningJob")

    async def get_job(self, request: Request) -> Response:
        job = self.c.jobs.get(self._name(request, "supervisedFineTuningJobs"))
        if job is None:
            return JSONResponse({"code": 5, "message": "not found"}, 404)
        with self.c.lock:
            job["looks"] += 1
            stuck = request.path_params["id"].removeprefix(f"ft-{SESSION}-") in self.c.stuck
            step = 0 if stuck else min(job["looks"] - 1, 3)
            if job["state"] == "JOB_STATE_CANCELLED" and job["name"].split("41e1-")[1] in self.c.stopped:
                return JSONResponse(job)
            running = {
                "step": step,
                "totalSteps": 3,
                "tokens": 100 * step,
                "percent": 33.3 * step,
                "runningSeconds": 12.5,
            }
            running |= {"loss": 2.0 - step / 2, "evalLoss": self.c.base_loss if step == 0 else self.c.loss(job)}
            job["localProgress"] = running
            job["state"] = "JOB_STATE_RUNNING" if step < 3 else "JOB_STATE_COMPLETED"
            limit = self.c.limited.get(request.path_params["id"].removeprefix(f"ft-{SESSION}-"))
            if limit is not None and step >= limit:
                job |= {"state": "JOB_STATE_CANCELLED", "status": {"message": "Cancelled by request."}}
                self.c.end(job["name"])
            elif step == 3 and request.path_params["id"].split("-")[-1] in self.c.failing:
                job |= {"state": "JOB_STATE_FAILED", "status": {"code": "INTERNAL", "message": "out of memory"}}
        return JSONResponse(job)

    async def create_deployment(self, request: Request) -> Response:
        identifier = request.query_params["deploymentId"]

        def make(body: dict[str, Any]) -> dict[str, Any]:
            name = f"accounts/{ACCOUNT}/deployments/{identifier}"
            self.c.deployments[name] = {"name": name, "state": "CREATING", **body}
            return self.c.deployments[name]

        return await self._effect(request, make, "CreateDeployment")

    async def get_deployment(self, request: Request) -> Response:
        name = self._name(request, "deployments")
        if request.path_params["id"].removeprefix(f"ft-{SESSION}-") in self.c.lost:
            self.c.deployments.pop(name, None)
            self.c.end(name, "time")
        if name not in self.c.deployments:
            return JSONResponse({"code": 5, "message": f"{name} not found"}, 404)
        found = dict(self.c.deployments[name])
        self.c.deployments[found["name"]]["state"] = "READY"
        return JSONResponse(found)

    async def load(self, request: Request) -> Response:
        def make(body: dict[str, Any]) -> dict[str, Any]:
            name = f"accounts/{ACCOUNT}/deployedModels/lora-{len(self.c.loras)}"
            self.c.loras[name] = {"name": name, "state": "DEPLOYED", **body}
            return self.c.loras[name]

        return await self._effect(request, make)

    async def get_lora(self, request: Request) -> Response:
        return JSONResponse(self.c.loras[self._name(request, "deployedModels")])

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        with self.c.lock:
            if not self._granted("CreateChatCompletion", {}, body):
                return _error(403, "PERMISSION_DENIED", "no grant covers this request")
            if self.c.asleep > 0:
                self.c.asleep -= 1
                headers = {"retry-after": "0"}
                error = {"error": {"code": "DEPLOYMENT_SCALING_UP", "message": "waking up", "type": "x"}}
                return JSONResponse(error, 503, headers)
            self.c.chats.append(body)
        tuned = "#" in body["model"] or body["model"].endswith("deploy")
        text = label_of(body["messages"][-1]["content"]) if tuned else "I will look into it."
        return JSONResponse({"choices": [{"message": {"role": "assistant", "content": text}}]})


def _model(name: str, count: int) -> dict[str, Any]:
    return {
        "name": f"accounts/fireworks/models/{name}",
        "displayName": name.replace("-", " ").title(),
        "kind": "HF_BASE_MODEL",
        "state": "READY",
        "tunable": True,
        "contextLength": 512,
        "conversationConfig": {"style": "chatml"},
        "localDetails": {"loraAlphaRatio": 128.0, "parameterCount": str(count), "chatTemplateHash": "ab" * 32},
    }


def label_of(text: str) -> str:
    return ("refund", "delivery", "login")[int(text.split("#")[1].split()[0]) % 3]


def ticket(number: int, text: str = "I need help with order") -> dict[str, Any]:
    question = f"{text} #{number} please, it is the {number * 7919 % 9973}th time"
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": label_of(question)}]
    return {"messages": messages}


class Desk:
    """A control process, a workspace, and turns run in this process or (see kill tests) in another."""

    def __init__(self, control: Control, socket: Path, work: Path) -> None:
        self.control, self.socket, self.work = control, socket, work

    def turn(self) -> Turn:
        client = Client(self.socket)
        context = TurnContext.model_validate(client.get("/turn/v1/context"))
        return Turn(client, Workspace(self.work), context, poll_seconds=0.01)

    def run(self) -> None:
        """One turn, as runner.main does it."""
        turn = self.turn()
        saver = open_saver(self.work / "state" / "graph.db")
        try:
            run_turn(turn, saver)
        finally:
            saver.conn.close()
            turn.client.close()


@pytest.fixture
def control() -> Control:
    control = Control()
    control.add_dataset(DATASET, [ticket(number) for number in range(60)])
    control.instructions = [f"Run SFT on {DATASET} using ember-1m. Use validation loss for evaluation."]
    return control


@pytest.fixture
def desk(control: Control, tmp_path: Path) -> Iterator[Desk]:
    socket = tmp_path / "gateway.sock"
    config = uvicorn.Config(Server(control).app, uds=str(socket), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Desk(control, socket, tmp_path / "work")
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def nursery() -> Iterator[subprocess.Popen[str]]:
    """The parent that runners are forked from: it has imported everything once."""
    pipe, root = subprocess.PIPE, Path(__file__).resolve().parents[3]
    command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        yield process


class Zygote:
    """Runs each turn of a session in a process of its own."""

    def __init__(self, desk: Desk, process: subprocess.Popen[str]) -> None:
        self.control, self.process = desk.control, process
        self.env = {
            "PILOTLIGHT_SOCKET": str(desk.socket),
            "PILOTLIGHT_WORKSPACE": str(desk.work),
            "PILOTLIGHT_POLL_SECONDS": "0.01",
        }

    def run(self, kill_after: float | None = None) -> int:
        """One turn; with `kill_after` the process is killed so many seconds after its start. Its exit code."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"env": self.env}) + "\n")
        self.process.stdin.flush()
        self.control.victim = int(self._line().split()[1])
        timer = threading.Timer(kill_after, self._kill) if kill_after is not None else None
        if timer:
            timer.start()
        code = int(self._line().split()[1])
        if timer:
            timer.cancel()
        return code

    def _kill(self) -> None:
        self.control.kills += 1
        os.kill(self.control.victim, signal.SIGKILL)

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()


@pytest.fixture
def zygote(desk: Desk, nursery: subprocess.Popen[str]) -> Zygote:
    return Zygote(desk, nursery)
