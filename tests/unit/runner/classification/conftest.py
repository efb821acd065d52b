"""The scripted control process with models that tell labels: which one is a table of the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fixtures.control_labels import ids_of, label_in, question_in
from tests.fixtures.planner_control import Control, label_of
from tests.fixtures.planner_desk import Desk, open_desk
from tests.fixtures.planner_server import Server

INTENTS = "accounts/local/datasets/intents"
LABELS = ("delivery", "login", "refund")


class LabelControl(Control):
    """`says` is what a model takes a question for: by the name in the request, and the question's text."""

    def __init__(self) -> None:
        super().__init__()
        self.says: Callable[[str, str], str] = truthful
        self.completions: list[dict[str, Any]] = []
        self.asleep = 1


def truthful(model: str, question: str) -> str:
    """A tuned model is right, a base model takes everything for a refund."""
    return label_of(question) if "#" in model or model.endswith("deploy") else "refund"


class LabelServer(Server):
    """Adds what measuring needs: token IDs in chat, and completions that score a prompt."""

    def __init__(self, control: LabelControl) -> None:
        super().__init__(control)
        self.labels = control
        self.app.router.routes.append(Route("/inference/v1/completions", self.complete, methods=["POST"]))

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
        ids = ids_of(body["messages"])
        if body["max_tokens"] == 0:
            text = ""
        else:
            text = self.labels.says(body["model"], body["messages"][-1]["content"]).title()
            text = text if "#" in body["model"] or body["model"].endswith("deploy") else "I will look into it."
        message = {"role": "assistant", "content": text}
        return JSONResponse({"choices": [{"index": 0, "message": message, "prompt_token_ids": ids}]})

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        with self.c.lock:
            if not self._granted("CreateCompletion", {}, body):
                return JSONResponse({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no grant"}}, 403)
            self.labels.completions.append(body)
        choices: list[dict[str, Any]] = []
        for index, ids in enumerate(body["prompt"]):
            label = label_in(ids)
            right = label == self.labels.says(body["model"], question_in(ids))
            # Of the tokens before the label a right one is unlikely: who counts them chooses wrongly.
            scores = [-50.0 if right else 0.0] * (len(ids) - len(label) - 1)
            scores += [-0.1 if right else -2.0] * (len(label) + 1)
            choices.append({"index": index, "logprobs": {"token_logprobs": scores[-body["echo_last"] :]}})
        return JSONResponse({"choices": choices[::-1]})


def intent_row(number: int, **more: Any) -> dict[str, Any]:
    """A question whose label follows from its number."""
    question = f"I need help with order #{number} please, it is the {number * 7919 % 9973}th time"
    answer = {"role": "assistant", "content": label_of(question)}
    return {"messages": [{"role": "user", "content": question}, answer]} | more


@pytest.fixture
def control() -> LabelControl:
    control = LabelControl()
    control.add_dataset(INTENTS, [intent_row(number) for number in range(60)])
    control.instructions = [f"Run classification fine-tuning on {INTENTS} using ember-1m."]
    return control


@pytest.fixture
def desk(control: LabelControl, tmp_path: Path) -> Iterator[Desk]:
    with open_desk(control, tmp_path, LabelServer(control).app) as desk:
        yield desk
