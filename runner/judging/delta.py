"""Delta learning: a strong and a weak model answer the same prompts; the judged difference makes preference pairs."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from runner import serving
from runner.data.rows import messages_of, read_lines
from runner.judging.question import Answer, Question
from runner.keeping import Record, Task, key_of, load_kept, run_kept
from runner.planning import judge_requests
from runner.scoring.pairwise import Votes, decide
from runner.turn import Turn


class Prompt(NamedTuple):
    """What models are asked: the messages, their tools, and the line of the dataset they are from."""

    line: int
    messages: list[dict[str, Any]]
    tools: list[Any]


COUNTS = ("prompts", "pairs", "strong", "ties", "invalid", "empty", "alike")
"""How prompts end: `strong` of the `pairs` prefer the strong model's answer; `invalid`: a verdict cannot be read;
`empty` and `alike` are pairs that no judge needs to see."""


class Harvest(NamedTuple):
    """The pairs as rows of a dataset, and how many prompts ended which way, by COUNTS."""

    rows: list[dict[str, Any]]
    counts: dict[str, int]


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file of chat rows without answers."""
    rows = [(line.number, line.value or {}) for line in read_lines(path)]
    return [Prompt(number, messages_of(row), row.get("tools") or []) for number, row in rows]


def answers_path(label: str) -> str:
    """The file of a model's answers, one line per prompt."""
    return f"outputs/answers-{label}.jsonl"


class Writer(NamedTuple):
    """A model as it is asked: `model` is what it is, `address` what requests name, `most` the tokens it may write."""

    label: str
    model: str
    address: str
    most: int


def generate(
    turn: Turn, writer: Writer, prompts: Sequence[Prompt], prepare: Callable[[], object] | None = None
) -> list[Answer]:
    """A model's answers, kept as they come: neither a restart nor another replica pays for one twice.

    `prepare` is called before the model is asked, and not where all answers are kept.
    """
    tasks = [_task(turn, writer, prompt) for prompt in prompts]
    records = run_kept(turn, answers_path(writer.label), tasks, prepare)
    return [Answer(record["text"], record["finished"]) for record in records]


def kept_answers(turn: Turn, label: str, prompts: Sequence[Prompt]) -> list[Answer]:
    """What generate() kept for these prompts. Raises KeyError where a prompt was not answered yet."""
    by_line = {record["line"]: record for record in load_kept(turn, answers_path(label)).values()}
    records = [by_line[prompt.line] for prompt in prompts]
    return [Answer(record["text"], record["finished"]) for record in records]


def _task(turn: Turn, writer: Writer, prompt: Prompt) -> Task:
    body = judge_requests.answer_body(writer.address, prompt.messages, prompt.tools, writer.most)

    def run() -> Record:
        reply = serving.post(turn, serving.CHAT_PATH, body)
        finished = reply["choices"][0].get("finish_reason") != "length"
        asked = {"line": prompt.line, "model": writer.model, "messages": prompt.messages}
        return asked | {"text": serving.text_of(reply), "finished": finished}

    return Task(key_of(prompt.line, body | {"model": writer.model}), run)


def can_differ(question: Question) -> str:
    """Why no judge needs to see a pair: `empty` where an answer says nothing, `alike` where both say the same."""
    left, right = (" ".join(answer.text.split()) for answer in (question.left, question.right))
    if not left or not right:
        return "empty"
    return "alike" if left == right else ""


def harvest(prompts: Sequence[Prompt], questions: Sequence[Question], votes: Sequence[Votes | None]) -> Harvest:
    """A row for each pair that both orders decide the same way; the strong model's answer is the left one.

    `votes` has None for what no judge was asked.
    """
    counts: dict[str, int] = dict.fromkeys(COUNTS, 0)
    rows: list[dict[str, Any]] = []
    for prompt, question, pair in zip(prompts, questions, votes, strict=True):
        counts["prompts"] += 1
        outcome = decide(pair) if pair is not None else can_differ(question)
        if outcome in ("left", "right"):
            counts["pairs"] += 1
            counts["strong"] += outcome == "left"
            rows.append(_row(prompt, question if outcome == "left" else question.turned()))
        else:
            counts["ties" if outcome == "tie" else outcome] += 1
    return Harvest(rows, counts)


def _row(prompt: Prompt, question: Question) -> dict[str, Any]:
    asked: dict[str, Any] = {"messages": prompt.messages} | ({"tools": prompt.tools} if prompt.tools else {})
    return {
        "input": asked,
        "preferred_output": [{"role": "assistant", "content": question.left.text}],
        "non_preferred_output": [{"role": "assistant", "content": question.right.text}],
    }


def as_lines(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
