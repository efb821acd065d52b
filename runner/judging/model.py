"""Judges that are language models."""

import re
from collections.abc import Callable

import prompts
from pilotlight.errors import InvalidArgument
from runner.judging.question import Ballot, Question
from runner.judging.text import transcript
from runner.likelihoods import measure, spell, template_ids
from runner.scoring.pairwise import Vote
from runner.turn import Turn

_VERDICT = re.compile(r"\bverdict\b[^\w\n]{0,8}(a|b|tie)\b", re.IGNORECASE)
_VOTES: dict[str, Vote] = {"a": "first", "b": "second", "tie": "tie"}


class LikelihoodJudge:
    """A model of the platform: the verdict is the one of A and B that it finds more likely; nothing is generated.

    So even a small model's verdict can be read; it is `invalid` only where the question is too long for the model.
    """

    def __init__(self, turn: Turn, address: str, name: str, rubric: str) -> None:
        """`address` is what requests name: a deployment that is ready."""
        self.name, self.criterion = name, rubric
        self._turn, self._address = turn, address
        self._spelled: list[list[int]] = []

    def vote(self, question: Question) -> Ballot:
        """Ask for the tokens of the question, then for the log-probability of each verdict after them."""
        text = judging_prompt(question, self.criterion)
        try:
            prompt = template_ids(self._turn, self._address, [{"role": "user", "content": text}])
            first, second = measure(self._turn, self._address, prompt, self._verdicts())
        except InvalidArgument as error:
            if "too long" not in error.message:
                raise
            return Ballot("invalid", "the question is too long for the judge")
        vote: Vote = "tie" if first == second else "first" if first > second else "second"
        return Ballot(vote, {"A": round(first, 4), "B": round(second, 4)})

    def _verdicts(self) -> list[list[int]]:
        if not self._spelled:
            self._spelled = spell(self._turn, self._address, ["A", "B"])
        return self._spelled


class WritingJudge:
    """A model that writes its reasons and a verdict; `invalid` where none can be read from what it wrote."""

    def __init__(self, ask: Callable[[str], str], name: str, rubric: str) -> None:
        """`ask` sends a prompt and returns what was written."""
        self.name, self.criterion, self._ask = name, rubric, ask

    def vote(self, question: Question) -> Ballot:
        """Ask, and read the last verdict."""
        said = self._ask(judging_prompt(question, self.criterion, written=True))
        return Ballot(read_verdict(said), said)


def judging_prompt(question: Question, rubric: str, written: bool = False) -> str:
    """The question as a model is asked it; `written` asks for reasons first."""
    return prompts.render(
        "judge.md.j2",
        conversation=transcript(question.messages),
        first=question.left.text,
        second=question.right.text,
        rubric=rubric,
        written=written,
    )


def read_verdict(said: str) -> Vote:
    """The last `Verdict: A`, `B` or `tie` of a text; `invalid` where there is none."""
    found = _VERDICT.findall(said)
    return _VOTES[found[-1].lower()] if found else "invalid"
