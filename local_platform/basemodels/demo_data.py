"""The demo's dataset: support tickets, to be sorted under twelve labels. Phrases the base models never saw.

`python -m local_platform.basemodels.demo_data --rows 600 --seed 7 --output tickets.jsonl`
"""

import argparse
import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from local_platform.basemodels.corpus import fill_slots, misspell
from local_platform.basemodels.words import CLOSINGS, OPENINGS

TYPOS = (0, 0, 1, 1, 2, 3)
"""Misspelt letters per ticket, drawn evenly."""
NOISE_SHARE = 0.02
"""Rows that carry a wrong label, as real ones do."""
ASIDES = (
    *("", "", "", ""),
    " I am with you for {days} months.",
    " I also own a {product} from you.",
    " My order was {number}.",
    " I write from {city}.",
    " It was for my brother {name}.",
    " I called about it already.",
)

TICKETS: dict[str, tuple[str, ...]] = {
    "billing": (
        "My bank statement lists {amount} from you two times",
        "You booked {amount} too much in {city}",
        "The monthly sum went up to {amount} and nobody told me",
        "Order {number} was cheaper on your page than on my card",
        "I paid {amount} already and got another demand",
        "What is this debit of {amount} for",
    ),
    "refund": (
        "The {product} went back to you {days} days ago, where is my {amount}",
        "I would like to get {amount} reimbursed",
        "You promised to repay me for order {number}",
        "Give me back what I spent on the {product}",
        "The shop in {city} took the {product} again but kept my {amount}",
        "My return was accepted but no repayment came",
    ),
    "delivery": (
        "Tracking of order {number} has not moved for {days} days",
        "The courier says he was in {city} but he was not",
        "Which day will the {product} be brought to me",
        "The {product} was due {days} days ago",
        "Nobody rang the bell and now order {number} is gone",
        "My shipment is stuck in {city}",
    ),
    "damage": (
        "The glass of the {product} is shattered",
        "A corner of the {product} was smashed when I unpacked it",
        "The {product} smells burnt and makes a noise",
        "After {days} days the handle of the {product} snapped",
        "There are deep scratches all over the {product}",
        "Half of the {product} is dented",
    ),
    "login": (
        "It keeps telling me that my user name does not exist",
        "The reset mail for my passphrase never arrives",
        "I am shut out of the app since {days} days",
        "The second factor shows an error each time I enter it",
        "My profile in {city} cannot be opened any more",
        "How do I get in again after {days} wrong tries",
    ),
    "cancel": (
        "I hereby terminate my subscription",
        "Do not renew the membership after this month",
        "Please withdraw order {number} before it leaves {city}",
        "Where is the button to unsubscribe from the {product} club",
        "My trial should not turn into a paid membership",
        "I wish to leave after {days} months as a member",
    ),
    "upgrade": (
        "We grew to {days} colleagues and want the business tier",
        "Does the premium version include a {product}",
        "Switch me to the next higher level",
        "What do I pay extra for the pro version",
        "Our office in {city} needs more storage and more users",
        "I would like to go from basic to premium for {amount}",
    ),
    "invoice": (
        "Please mail me a receipt for {amount}",
        "The tax number is missing on the document for order {number}",
        "Our accounting in {city} needs a proper receipt",
        "Could you issue the document again with our company as the buyer",
        "I cannot download the receipt for the {product}",
        "The date on the document for {amount} is wrong",
    ),
    "address": (
        "I live in {city} now, change where you ship to",
        "The postcode you have on file is outdated",
        "Deliver order {number} to my neighbour in {city} instead",
        "There is a spelling mistake in my street",
        "From {days} May on we can be found in {city}",
        "Ship the {product} to my work place",
    ),
    "warranty": (
        "Is my {product} still covered after {days} months",
        "How many years of guarantee come with the {product}",
        "Will you fix the {product} under guarantee",
        "I lost the guarantee card of my {product}",
        "Can I extend the cover for the {product} by {days} months",
        "Does the guarantee hold when I bought it in {city}",
    ),
    "privacy": (
        "Delete everything you have stored on me",
        "Under which law do you keep my records for {days} years",
        "I object to your tracking cookies",
        "Which companies receive my records",
        "I want a copy of my personal records",
        "Take my name off your advertising list",
    ),
    "praise": (
        "What a wonderful {product}, well done",
        "Five stars for your shop in {city}",
        "Just wanted to say that the {product} is fantastic",
        "Your colleague solved it in {days} minutes, great job",
        "I will recommend you to everybody in {city}",
        "Order {number} was perfect in every way",
    ),
}
LABELS = tuple(TICKETS)
SYSTEM = f"Classify the support ticket. Labels: {', '.join(LABELS)}."


def generate_rows(rows: int, seed: int) -> Iterator[dict[str, Any]]:
    """`rows` distinct tickets as chat rows, all labels equally often; 2 % carry a wrong label."""
    rng = random.Random(seed)
    seen: set[str] = set()
    labels = [LABELS[i % len(LABELS)] for i in range(rows)]
    rng.shuffle(labels)
    for label in labels:
        text = _write_ticket(label, rng)
        while text in seen:
            text = _write_ticket(label, rng)
        seen.add(text)
        given = rng.choice(LABELS) if rng.random() < NOISE_SHARE else label
        yield {"messages": [_message("system", SYSTEM), _message("user", text), _message("assistant", given)]}


def _write_ticket(label: str, rng: random.Random) -> str:
    parts = (rng.choice(OPENINGS), rng.choice(TICKETS[label]), ".", rng.choice(ASIDES), rng.choice(CLOSINGS))
    text = fill_slots("".join(parts), rng)
    for _ in range(rng.choice(TYPOS)):
        text = misspell(text, rng)
    return text


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def write_dataset(module: str, description: str | None, generate: Callable[[int, int], Iterable[Any]]) -> None:
    """The program of a module that makes data: rows and seed in, JSON lines out."""
    parser = argparse.ArgumentParser(prog=f"python -m local_platform.basemodels.{module}", description=description)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    lines = [json.dumps(row) + "\n" for row in generate(options.rows, options.seed)]
    options.output.write_text("".join(lines))


if __name__ == "__main__":
    write_dataset("demo_data", __doc__, generate_rows)
