"""The preference demo's dataset: support tickets with two replies each, one of which deals with what was asked.

The tickets are those of `demo_data`. A reply that is not preferred is rude, or is kind and about something else.

`python -m local_platform.basemodels.demo_pairs --rows 600 --seed 7 --output replies.jsonl`
"""

import random
from collections.abc import Iterator
from typing import Any

from local_platform.basemodels.demo_data import LABELS, generate_rows, write_dataset
from local_platform.basemodels.words import RUDE

RUDE_SHARE = 0.25
"""Of the replies that are not preferred."""

REPLIES: dict[str, tuple[str, str]] = {
    "billing": ("We will check the charge on your card today.", "I am sorry. I will look at what we took from you."),
    "refund": ("Your money is on the way back to you.", "I am sorry. You get what you paid within five days."),
    "delivery": ("I will ask the driver where your parcel is.", "I am sorry. Your parcel will arrive soon."),
    "damage": ("We will send you a new one for free.", "I am sorry that it broke. You get a new one."),
    "login": ("Please try the link that we just sent you.", "I am sorry. We will open your account again."),
    "cancel": ("We have stopped it, and you pay nothing more.", "I am sorry to see you go. It is stopped."),
    "upgrade": ("We can change your plan to a bigger one today.", "The bigger plan has it, shall I change it?"),
    "invoice": ("Here is the paper for your taxes.", "I am sorry. A new bill with your name is on the way."),
    "address": ("We have changed the street and the city.", "Thank you. We will send it to your new home."),
    "warranty": ("Yes, we will repair it within two years.", "You can send it to us and we will repair it."),
    "privacy": ("We will delete all that we know about you.", "Here is a list of all that we know about you."),
    "praise": ("Thank you, that makes us very happy.", "That is nice to read, thank you."),
}
"""By label: replies that deal with it."""


def generate_pairs(rows: int, seed: int) -> Iterator[dict[str, Any]]:
    """`rows` distinct tickets, each with a preferred reply and another one; 2 % of them prefer the wrong one."""
    rng = random.Random(seed)
    for row in generate_rows(rows, seed):
        _, ticket, answer = row["messages"]
        label = answer["content"]
        other = rng.choice([name for name in LABELS if name != label])
        wrong = rng.choice(RUDE if rng.random() < RUDE_SHARE else REPLIES[other])
        yield {
            "input": {"messages": [ticket]},
            "preferred_output": [_reply(rng.choice(REPLIES[label]))],
            "non_preferred_output": [_reply(wrong)],
        }


def _reply(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


if __name__ == "__main__":
    write_dataset("demo_pairs", __doc__, generate_pairs)
