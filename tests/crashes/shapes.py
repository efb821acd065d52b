"""What the sessions of a campaign are about: their instruction, and the answers to what they ask."""

import json
from random import Random
from typing import Any, NamedTuple

Json = dict[str, Any]
DATASET = "tickets"
_DATA = f"accounts/local/datasets/{DATASET}"
_SWEEP = "Use LoRA ranks 8 and 16 with learning rate 1e-4, train for 1 epoch, use 20 samples for HP tuning."
_SINGLE = "Use rank 8. Skip HP tuning. Train for 1 epoch."
_TEXTS = ("refund", "delivery", "login")


class Shape(NamedTuple):
    """One kind of session. `replies` are words for a question that is asked so often; else it is approved."""

    name: str
    instruction: str
    replies: dict[str, list[str]]
    end: str = "succeeded"


SHAPES = (
    Shape("whole", f"Run SFT on {_DATA}. Use validation loss for evaluation. {_SWEEP}",
          {"missing_input": ["Use ember-500k."]}),
    Shape("single", f"Run SFT on ember-500k using {_DATA}. Use validation loss for evaluation. {_SINGLE}", {}),
    Shape("words", f"Run SFT on ember-500k using {_DATA}. Use validation loss for evaluation. {_SWEEP}",
          {"plan_approval": ["Approved, proceed."], "promotion": ["Proceed with the winning config."]}),
    Shape("revised", f"Run SFT on ember-500k using {_DATA}. Use validation loss for evaluation. {_SWEEP}",
          {"plan_approval": ["Use rank 8 only and skip HP tuning."]}),
    Shape("rejected", f"Run SFT on ember-500k using {_DATA}. Use validation loss for evaluation. {_SWEEP}",
          {"plan_approval": ["Reject."]}, "cancelled"),
)  # fmt: skip
_WEIGHTS = (30, 30, 20, 12, 8)


def choose_shape(rng: Random) -> Shape:
    """Mostly sessions that go through everything."""
    return rng.choices(SHAPES, _WEIGHTS)[0]


def reply_to(shape: Shape, question: Json, asked: int) -> Json:
    """The body of an update that answers `question`, the `asked`-th of its kind in the session (from 0)."""
    words = shape.replies.get(question["kind"], [])
    if asked < len(words):
        return {"instruction": words[asked], "questionId": question["questionId"]}
    answer: Json = {"questionId": question["questionId"], "decision": "approve"}
    if question.get("planHash"):
        answer["planHash"] = question["planHash"]
    return {"answer": answer}


def make_rows(count: int = 40) -> bytes:
    """The dataset: questions and one-word answers."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"ticket {n} about {_TEXTS[n % 3]}, the {n * 7919 % 9973}th time"},
                {"role": "assistant", "content": _TEXTS[n % 3]},
            ]
        }
        for n in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
