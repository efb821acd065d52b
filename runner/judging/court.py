"""Every question put to a judge in both orders, the raw verdicts kept as they come."""

from collections.abc import Callable, Sequence
from typing import Any

from runner.judging.question import Judge, Question
from runner.keeping import Record, Task, key_of, run_kept
from runner.scoring.pairwise import Votes
from runner.turn import Turn

ORDERS = ("forward", "backward")


def hear(
    turn: Turn, label: str, judge: Judge, questions: Sequence[Question], prepare: Callable[[], object] | None = None
) -> list[Votes]:
    """The votes on all questions, from `outputs/verdicts-<label>.jsonl` where they were asked before.

    `prepare` is called before the judge is asked, and not where all votes are kept.

    Raises what the judge raises; what was said until then is kept.
    """
    tasks = [_task(judge, place, question, order) for place, question in enumerate(questions) for order in ORDERS]
    records = run_kept(turn, verdicts_path(label), tasks, prepare)
    return [Votes(one["vote"], other["vote"]) for one, other in zip(records[::2], records[1::2], strict=True)]


def verdicts_path(label: str) -> str:
    """The file of the raw verdicts, one line per vote: what was shown first and second, and what the judge said."""
    return f"outputs/verdicts-{label}.jsonl"


def _task(judge: Judge, place: int, question: Question, order: str) -> Task:
    shown = question if order == "forward" else question.turned()

    def run() -> Record:
        ballot = judge.vote(shown)
        return _record(place, order, shown) | {"judge": judge.name, "vote": ballot.vote, "said": ballot.said}

    known = [list(pair) for pair in question.known]
    asked = [judge.name, judge.criterion, shown.messages, list(shown.left), list(shown.right), known, order]
    return Task(key_of(place, *asked), run)


def _record(place: int, order: str, shown: Question) -> dict[str, Any]:
    return {
        "question": place + 1,
        "prompt": shown.prompt,
        "order": order,
        "first": shown.left.text,
        "second": shown.right.text,
    }
