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

from tests.fixtures.control_labels import label_in
from tests.fixtures.planner_control import ACCOUNT
from tests.fixtures.planner_desk import Desk, open_desk
from tests.fixtures.scoring_server import ScoringControl, ScoringServer

PAIRS = f"accounts/{ACCOUNT}/datasets/prefs"


class PairControl(ScoringControl):
    """`finds` is the log-probability per token that a model gives: by the name in the request and by text."""

    def __init__(self) -> None:
        super().__init__()
        self.finds: Callable[[str, str], float] = taught
        self.says: Callable[[str, str], str] = lambda model, asked: f"my own answer, says {model[-2:]}"
        """What a model answers: by the name in the request and the last message."""
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


class PairServer(ScoringServer):
    """Adds preference jobs."""

    def __init__(self, control: PairControl) -> None:
        super().__init__(control)
        self.pairs = control
        jobs = "/v1/accounts/{account}/dpoJobs"
        self.app.router.routes += [
            Route(jobs, self.create_pair_job, methods=["POST"]),
            Route(jobs + "/{id}", self.get_pair_job),
        ]

    async def create_pair_job(self, request: Request) -> Response:
        return await self.make_job(request, "dpoJob", "CreateDpoJob")

    async def get_pair_job(self, request: Request) -> Response:
        answer = self.look(self._name(request, "dpoJobs"), request.path_params["id"])
        if request.path_params["id"].rsplit("-", 1)[-1] not in self.pairs.ticking:
            return answer
        job = json.loads(bytes(answer.body))
        job["localProgress"]["updatedAt"] = str(min(time.monotonic(), self.pairs.until))
        return JSONResponse(job)

    def write(self, body: dict[str, Any]) -> str:
        return self.pairs.says(body["model"], body["messages"][-1]["content"])

    def score(self, model: str, ids: list[int]) -> list[float]:
        answer = label_in(ids)
        # The tokens before an answer are no part of it: who counts them scores wrongly.
        return [-50.0] * (len(ids) - len(answer) - 1) + [self.pairs.finds(model, answer)] * (len(answer) + 1)


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
