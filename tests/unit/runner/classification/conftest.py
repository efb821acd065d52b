"""The scripted control process with models that tell labels: which one is a table of the test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.control_labels import label_in, question_in
from tests.fixtures.planner_control import label_of
from tests.fixtures.planner_desk import Desk, open_desk
from tests.fixtures.scoring_server import ScoringControl, ScoringServer

INTENTS = "accounts/local/datasets/intents"
LABELS = ("delivery", "login", "refund")


class LabelControl(ScoringControl):
    """`says` is what a model takes a question for: by the name in the request, and the question's text."""

    def __init__(self) -> None:
        super().__init__()
        self.says: Callable[[str, str], str] = truthful


def truthful(model: str, question: str) -> str:
    """A tuned model is right, a base model takes everything for a refund."""
    return label_of(question) if "#" in model or model.endswith("deploy") else "refund"


class LabelServer(ScoringServer):
    """Models that find the label likely which they take a question for."""

    def __init__(self, control: LabelControl) -> None:
        super().__init__(control)
        self.labels = control

    def write(self, body: dict[str, Any]) -> str:
        text = self.labels.says(body["model"], body["messages"][-1]["content"]).title()
        return text if "#" in body["model"] or body["model"].endswith("deploy") else "I will look into it."

    def score(self, model: str, ids: list[int]) -> list[float]:
        label = label_in(ids)
        right = label == self.labels.says(model, question_in(ids))
        # Of the tokens before the label a right one is unlikely: who counts them chooses wrongly.
        before = [-50.0 if right else 0.0] * (len(ids) - len(label) - 1)
        return before + [-0.1 if right else -2.0] * (len(label) + 1)


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
