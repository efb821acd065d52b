"""What a judge is asked, and what it says."""

from typing import Any, NamedTuple, Protocol

from runner.keeping import key_of
from runner.scoring.pairwise import Vote


class Answer(NamedTuple):
    """What a model wrote. `finished` is False where it was cut off at the longest answer allowed."""

    text: str
    finished: bool = True


class Known(NamedTuple):
    """What the data says about a prompt: an answer that was preferred, and the one it was preferred to."""

    preferred: str
    other: str


class Question(NamedTuple):
    """Two answers to one prompt. `known` is what the data prefers there, where it says so."""

    messages: list[dict[str, Any]]
    left: Answer
    right: Answer
    known: tuple[Known, ...] = ()

    @property
    def prompt(self) -> str:
        """Equal for questions about the same prompt."""
        return key_of(self.messages)

    def turned(self) -> "Question":
        """The same with the answers in the other order."""
        return self._replace(left=self.right, right=self.left)


class Ballot(NamedTuple):
    """A vote, and what was said or measured for it, as plain JSON."""

    vote: Vote
    said: Any


class Judge(Protocol):
    """Prefers one of two answers."""

    @property
    def name(self) -> str:
        """Who judges, as reports show it."""
        ...

    @property
    def criterion(self) -> str:
        """By what, in words: the rubric or the rule."""
        ...

    def vote(self, question: Question) -> Ballot:
        """Which answer is better, the left one being shown first. What the judge cannot be read from is `invalid`."""
        ...
