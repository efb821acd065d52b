"""The pretraining corpus: short chats from seeded templates. Standard library only; the same seed, the same bytes."""

import json
import random
import string
from collections.abc import Callable, Iterator
from typing import NamedTuple

from local_platform.basemodels.words import (
    CITIES,
    CLOSINGS,
    ECHO_WORDS,
    FACTS,
    JOBS,
    KINDS,
    NAMES,
    OPENINGS,
    PRODUCTS,
    RUDE,
    SIGHTINGS,
    TOPICS,
    Topic,
)


class Chat(NamedTuple):
    """One example: a skill, an optional system message, what is asked and what is answered."""

    skill: str
    system: str
    user: str
    assistant: str

    def messages(self) -> list[dict[str, str]]:
        """In the chat format of datasets."""
        rest = [{"role": "user", "content": self.user}, {"role": "assistant", "content": self.assistant}]
        return [{"role": "system", "content": self.system}, *rest] if self.system else rest


def generate_chats(count: int, seed: int) -> Iterator[Chat]:
    """`count` chats; skills are drawn by their weights."""
    rng = random.Random(seed)
    makers, weights = zip(*_MAKERS.values(), strict=True)
    for maker in rng.choices(makers, weights, k=count):
        yield maker(rng)


def generate_skill(skill: str, count: int, seed: int) -> list[Chat]:
    """`count` chats of one skill, for measuring it. Raises KeyError for an unknown skill."""
    rng = random.Random(seed)
    return [_MAKERS[skill][0](rng) for _ in range(count)]


def fill_slots(template: str, rng: random.Random) -> str:
    """Replace the slots of a ticket template by random words and numbers."""
    return template.format(
        product=rng.choice(PRODUCTS),
        city=rng.choice(CITIES),
        name=rng.choice(NAMES),
        number=rng.randint(100, 999),
        days=rng.randint(2, 30),
        amount=f"{rng.randint(5, 99)} dollars",
    )


def misspell(text: str, rng: random.Random) -> str:
    """Swap, drop or double one letter inside a word."""
    spots = [i for i in range(1, len(text) - 1) if text[i - 1 : i + 2].isalpha()]
    if not spots:
        return text
    at = rng.choice(spots)
    change = rng.choice((text[at + 1] + text[at], text[at + 1], text[at] * 2 + text[at + 1]))
    return text[:at] + change + text[at + 2 :]


def _write_ticket(rng: random.Random) -> tuple[Topic, str]:
    topic = rng.choice(TOPICS)
    text = fill_slots(rng.choice(OPENINGS) + rng.choice(topic.tickets) + rng.choice(CLOSINGS), rng)
    return topic, misspell(text, rng) if rng.random() < 0.2 else text


def _make_reply(rng: random.Random) -> Chat:
    topic, text = _write_ticket(rng)
    system = rng.choice(("", "", "You are a support agent.", "Answer the customer."))
    return Chat("reply", system, text, rng.choice(RUDE) if rng.random() < 0.15 else topic.reply)


def _make_summary(rng: random.Random) -> Chat:
    topic, text = _write_ticket(rng)
    answer = f"It is about {topic.summary}."
    if rng.random() < 0.3:
        return Chat("summary", "Summarise the ticket.", text, answer)
    return Chat("summary", "", rng.choice((f"Summarise: {text}", f"{text}\nWhat is this about?")), answer)


def _make_echo(rng: random.Random) -> Chat:
    text = " ".join(rng.choices(ECHO_WORDS, k=rng.randint(1, 3)))
    return Chat("echo", "", rng.choice(("Repeat: ", "Say: ", "Copy: ")) + text, text)


def _make_copy(rng: random.Random) -> Chat:
    text = " ".join(_invent_word(rng) for _ in range(rng.randint(2, 6)))
    return Chat(COPY, "", rng.choice(("Repeat: ", "Say: ", "Copy: ")) + text, text)


def _invent_word(rng: random.Random) -> str:
    """Slices of known words and single characters, put together."""
    parts = (rng.choice(_KNOWN) if rng.random() < 0.85 else rng.choice(_CHARACTERS) for _ in range(rng.randint(1, 3)))
    return "".join(_slice(part, rng) for part in parts)


def _slice(word: str, rng: random.Random) -> str:
    start = rng.randrange(len(word))
    return word[start : start + rng.randint(1, 8)]


def _make_fact(rng: random.Random) -> Chat:
    return Chat("fact", "", *rng.choice(FACTS))


def _make_choice(rng: random.Random) -> Chat:
    kinds = rng.sample(sorted(KINDS), k=rng.randint(2, 5))
    answer = rng.choice(kinds)
    text = rng.choice(SIGHTINGS).format(thing=rng.choice(KINDS[answer]))
    if rng.random() < 0.5:
        return Chat("choice", f"Pick one of: {', '.join(kinds)}.", text, answer)
    return Chat("choice", "", f"Pick one of: {', '.join(kinds)}. Text: {text}", answer)


def _make_json(rng: random.Random) -> Chat:
    name, age = rng.choice(NAMES), rng.randint(18, 80)
    return Chat("json", "", f"Write JSON for {name}, age {age}", json.dumps({"name": name, "age": age}))


def _make_extract(rng: random.Random) -> Chat:
    name, city, job = rng.choice(NAMES), rng.choice(CITIES), rng.choice(JOBS)
    text, found = rng.choice(
        (
            (f"{name} lives in {city}.", {"name": name, "city": city}),
            (f"{name} is a {job}.", {"name": name, "job": job}),
            (f"{name} is a {job} in {city}.", {"name": name, "job": job, "city": city}),
        )
    )
    return Chat("extract", "", f"Extract as JSON: {text}", json.dumps(found))


def _make_sum(rng: random.Random) -> Chat:
    left, right = rng.randint(0, 10), rng.randint(0, 10)
    return Chat("sum", "", f"{left} + {right} =", str(left + right))


COPY = "copy"
"""The skill of repeating invented words. A token that is only ever a part of longer ones is trained nowhere else: all
of those would have nearly the same embedding, and no adapter could tell them apart in the data of others."""
_TEXTS = (
    *(text for topic in TOPICS for text in (topic.summary, topic.reply, *topic.tickets)),
    *(text for fact in FACTS for text in fact),
    *(thing for things in KINDS.values() for thing in things),
    *(*KINDS, *SIGHTINGS, *RUDE, *OPENINGS, *CLOSINGS, *PRODUCTS, *CITIES, *NAMES, *JOBS, *ECHO_WORDS),
)
_KNOWN = sorted({word for text in _TEXTS for word in text.split() if "{" not in word})
_CHARACTERS = string.ascii_letters + string.digits + string.punctuation

_MAKERS: dict[str, tuple[Callable[[random.Random], Chat], float]] = {
    "reply": (_make_reply, 24),
    "summary": (_make_summary, 20),
    "echo": (_make_echo, 20),
    "fact": (_make_fact, 7),
    "choice": (_make_choice, 12),
    "json": (_make_json, 6),
    "extract": (_make_extract, 5),
    "sum": (_make_sum, 6),
    COPY: (_make_copy, 20),
}
SKILLS = tuple(_MAKERS)
