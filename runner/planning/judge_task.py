"""What a plan says about judging and about making pairs from prompts. Part of the recipe."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from runner.planning.catalogue import BaseFacts


class JudgeTask(BaseModel):
    """Who decides which of two answers is better, and by what."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["reference", "form", "model", "planner", "evaluator"]
    """A rule against the data's preferred answers, one on the form of answers, a model of the platform or the planner's
    own with a rubric, an evaluator."""
    criterion: str
    """The rubric or the rule in words."""
    origin: Literal["given", "own"]
    """Whether the user gave the rubric, or it was written from the data."""
    metric: str = ""
    """Of a rule against preferred answers: by which agreement with them."""
    model: BaseFacts | None = None
    """The base model that judges."""
    planner: str = ""
    """The planner's own model that judges."""
    hours: float = 0.0
    """How long a deployment of it may run."""
    digest: str = ""
    """SHA-256 of an evaluator's code, in hex; see runner.evaluators.kept.code_of."""
    requirements: list[str] = []
    """Pinned packages of the evaluator."""
    name: str = "a rule"
    """Who judges, as people see it."""


class DeltaTask(BaseModel):
    """How pairs are made from prompts."""

    model_config = ConfigDict(extra="forbid")

    strong: BaseFacts
    weak: BaseFacts
    made: str
    """When the plan was made: part of the names of the new datasets."""
    prompts: str
    """The file below data/ with the prompts that pairs are made from."""
    rows: int
    unseen: str
    """The file below data/ with the held-out prompts, of which no pair is made."""
    unseen_rows: int
    most: int
    """The most tokens of an answer."""
    mean_prompt_tokens: int
    hours: float
    """How long a deployment of the strong or the weak model may run."""
    judge_hours: float = 0.0
    done: bool = False
    """Whether the pairs are made; then the sides of the recipe are theirs."""
    counts: dict[str, int] = {}
    """How the prompts ended, see runner.judging.delta.COUNTS."""
