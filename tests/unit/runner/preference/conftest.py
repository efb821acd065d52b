"""The scripted control process with preference jobs, and models that find one answer more likely than another."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fixtures.control_labels import ids_of, label_in
from tests.fixtures.planner_control import ACCOUNT, Control
from tests.fixtures.planner_desk import Desk, open_desk
from tests.fixtures.planner_server import Server

PAIRS = f"accounts/{ACCOUNT}/datasets/prefs"


class PairControl(Control):
    """`finds` is the log-probability per token that a model gives: by the name in the request and by text."""

    def __init__(self) -> None:
        super().__init__()
        self.finds: Callable[[str, str], float] = taught
        self.says: Callable[[str, str], str] = lambda model, asked: f"my own answer, says {model[-2:]}"
        """What a model answers: by the name in the request and the last message."""
        self.completions: list[dict[str, Any]] = []
        self.asleep = 1
        self.loss = lambda body: 0.5
        self.ticking: set[str] = set()
        """Jobs, by the end of their ID, whose trainer reports, until the time `until`, that it goes on."""
        self.until = 0.0


def taught(model: str, answer: str) -> float:
    """A tuned model finds good answers likely, a base model finds all answers alike but for their length."""
    tuned = "#" in model or model.endswith("deploy")
    return (
        (-0.1 if answer.startswith("good") else -2.0) if tuned else -1.0 - (0.5 if answer.startswith("good") else 0.0)
    )


class PairServer(Server):
    """Adds preference jobs, token IDs in chat, and completions that score a prompt."""

    def __init__(self, control: PairControl) -> None:
        super().__init__(control)
        self.pairs = control
        jobs = "/v1/accounts/{account}/dpoJobs"
        self.app.router.routes += [
            Route(jobs, self.create_pair_job, methods=["POST"]),
            Route(jobs + "/{id}", self.get_pair_job),
            Route("/inference/v1/completions", self.complete, methods=["POST"]),
        ]

    async def create_pair_job(self, request: Request) -> Response:
        identifier = request.query_params["dpoJobId"]

        def make(body: dict[str, Any]) -> dict[str, Any]:
            name = f"accounts/{ACCOUNT}/dpoJobs/{identifier}"
            assert body["dataset"] in self.c.datasets
            self.c.jobs[name] = {"name": name, "state": "JOB_STATE_PENDING", "looks": 0, **body}
            return self.c.jobs[name]

        return await self._effect(request, make, "CreateDpoJob")

    async def get_pair_job(self, request: Request) -> Response:
        answer = self.look(self._name(request, "dpoJobs"), request.path_params["id"])
        if request.path_params["id"].rsplit("-", 1)[-1] not in self.pairs.ticking:
            return answer
        job = json.loads(bytes(answer.body))
        job["localProgress"]["updatedAt"] = str(min(time.monotonic(), self.pairs.until))
        return JSONResponse(job)

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        with self.c.lock:
            if not self._granted("CreateChatCompletion", {}, body):
                return JSONResponse({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no grant"}}, 403)
            if self.c.asleep > 0:
                self.c.asleep -= 1
                error = {"error": {"code": "DEPLOYMENT_SCALING_UP", "message": "waking up", "type": "x"}}
                return JSONResponse(error, 503, {"retry-after": "0"})
            self.c.chats.append(body)
        text = "" if body["max_tokens"] == 0 else self.pairs.says(body["model"], body["messages"][-1]["content"])
        message = {"role": "assistant", "content": text}
        return JSONResponse(
            {"choices": [{"index": 0, "message": message, "prompt_token_ids": ids_of(body["messages"])}]}
        )

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        with self.c.lock:
            if not self._granted("CreateCompletion", {}, body):
                return JSONResponse({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no grant"}}, 403)
            self.pairs.completions.append(body)
        choices: list[dict[str, Any]] = []
        for index, ids in enumerate(body["prompt"]):
            answer = label_in(ids)
            # The tokens before an answer are no part of it: who counts them scores wrongly.
            scores = [-50.0] * (len(ids) - len(answer) - 1)
            scores += [self.pairs.finds(body["model"], answer)] * (len(answer) + 1)
            choices.append({"index": index, "logprobs": {"token_logprobs": scores[-body["echo_last"] :]}})
        return JSONResponse({"choices": choices[::-1]})


def pair(number: int, **more: Any) -> dict[str, Any]:
    """A question with a good and a bad answer to it; their lengths vary."""
    question = f"Help me with order #{number} please, it is the {number * 7919 % 9973}th time"
    good, bad = f"good: it is done{'.' * (number % 5)}", f"bad: never ask again{'!' * (number % 7)}"
    return {
        "input": {"messages": [{"role": "user", "content": question}]},
        "preferred_output": [{"role": "assistant", "content": good}],
        "non_preferred_output": [{"role": "assistant", "content": bad}],
    } | more


def rows_of(desk: Desk) -> list[dict[str, Any]]:
    """What was kept about every held-out pair."""
    return [json.loads(line) for line in (desk.work / "outputs/preference_pairs.jsonl").read_text().splitlines()]


@pytest.fixture
def control() -> PairControl:
    control = PairControl()
    control.add_dataset(PAIRS, [pair(number) for number in range(60)])
    control.instructions = [f"Run DPO on {PAIRS} using ember-1m."]
    return control


@pytest.fixture
def desk(control: PairControl, tmp_path: Path) -> Iterator[Desk]:
    with open_desk(control, tmp_path, PairServer(control).app) as desk:
        yield desk
