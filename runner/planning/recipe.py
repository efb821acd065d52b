"""The recipe: everything a plan will do, resolved. Grants and calls are both made from it, by runner.planning.requests.

Saved with the plan hash; the phases read it and nothing else.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from pilotlight.plan import Candidate
from pilotlight.tasks import Goal
from runner.planning.catalogue import BaseFacts
from runner.planning.judge_task import DeltaTask, JudgeTask


class DataSide(BaseModel):
    """One dataset that the plan makes (or uses): its resource name and, where it is made, its file below data/."""

    model_config = ConfigDict(extra="forbid")

    name: str
    file: str | None = None
    digest: str = ""
    rows: int
    tokens: int
    longest_answer_tokens: int = 0
    mean_prompt_tokens: int = 0
    mean_answer_tokens: int = 0


class LabelTask(BaseModel):
    """What a classification predicts."""

    model_config = ConfigDict(extra="forbid")

    labels: list[str]
    multi: bool
    choices: list[list[str]]
    """The answers among which a model chooses when it is not free in what it writes: each a set of labels."""
    trial_hours: float
    """How long the deployment of the candidates may run."""
    benchmark_only: bool = False
    strongest: str = ""
    """Name of the base model that is tuned; empty until the benchmark of several has told."""


class PairTask(BaseModel):
    """How preferences are learned."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["DPO", "ORPO"]
    trial_hours: float
    """How long the deployment of one base model and its candidates may run."""
    goal: Goal | None = None
    judge: JudgeTask
    """Who compares the answers of tuned models with those of their base models."""
    delta: DeltaTask | None = None
    """Set when the dataset holds prompts only."""

    @property
    def by_wins(self) -> bool:
        """Whether the win rate decides: a person named the judge or the rubric, or has a win rate as the target."""
        return self.judge.origin == "given" or (self.goal is not None and self.goal.metric == "win_rate")

    def longer(self) -> "PairTask":
        """With twice the hours for whatever is asked."""
        judge = self.judge.model_copy(update={"hours": 2 * self.judge.hours})
        delta = self.delta and self.delta.model_copy(
            update={"hours": 2 * self.delta.hours, "judge_hours": 2 * self.delta.judge_hours}
        )
        return self.model_copy(update={"trial_hours": 2 * self.trial_hours, "judge": judge, "delta": delta})


class EvaluatorUse(BaseModel):
    """The evaluator that a plan scores answers with: exactly this code."""

    model_config = ConfigDict(extra="forbid")

    name: str
    """Its file in the workspace, or its resource name."""
    title: str
    digest: str
    """SHA-256 of its code, in hex; see runner.evaluators.kept.code_of."""
    trial_hours: float = 0.0
    """How long a deployment on which candidates are scored may run."""
    requirements: list[str] = []
    """Pinned packages that are installed for it, once the plan that names them is approved."""


class Recipe(BaseModel):
    """A plan resolved to names and numbers."""

    model_config = ConfigDict(extra="forbid")

    account: str
    session: str
    generation: int
    source: str
    train: DataSide
    sample: DataSide
    """The sweep's training data; the same resource as `train` when nothing was subsampled."""
    heldout: DataSide
    bases: list[BaseFacts]
    candidates: list[Candidate]
    final_epochs: float
    max_parallel: int
    sweep: bool
    """More than one candidate."""
    final: bool
    """Whether a final training run follows; False when the winner is deployed as it is."""
    final_reason: str = ""
    """Why there is no final run."""
    prompts: int
    answer_tokens: int
    """The most tokens an evaluation answer may have."""
    evaluation_hours: float
    deployment_hours: float
    attempts: dict[str, int] = {}
    """By name: how often a step was begun before and ended at its approved limit."""
    slowness: dict[str, float] = {}
    """By base model: how many times longer than the platform's speed says its training was measured to take."""

    prune: bool = False
    """Whether successive halving stops the weaker candidates."""

    workflow: str = "sft"
    task: LabelTask | None = None
    """Set when the workflow is classification."""
    pairs: PairTask | None = None
    """Set when the workflow is preference."""
    evaluator: EvaluatorUse | None = None
    """Set when answers are scored by one, and the winner is chosen by that."""

    @property
    def preference(self) -> PairTask:
        """The task. Raises ValueError where the plan learns no preferences."""
        if self.pairs is None:
            raise ValueError(f"a {self.workflow} plan learns no preferences")
        return self.pairs

    @property
    def scorer(self) -> EvaluatorUse:
        """The evaluator. Raises ValueError where the plan scores by none."""
        if self.evaluator is None:
            raise ValueError(f"a {self.workflow} plan scores answers by no evaluator")
        return self.evaluator

    @property
    def labels(self) -> LabelTask:
        """The task. Raises ValueError where the plan predicts no labels."""
        if self.task is None:
            raise ValueError(f"a {self.workflow} plan predicts no labels")
        return self.task

    def tuning(self, base: str) -> "Recipe":
        """This recipe with `base` as the base model of all its candidates."""
        candidates = [candidate.model_copy(update={"base_model": base}) for candidate in self.candidates]
        task = self.labels.model_copy(update={"strongest": base})
        return self.model_copy(update={"candidates": candidates, "task": task})

    def tunings(self) -> "list[Recipe]":
        """One for each base model that may be tuned yet."""
        return [self] if self.labels.strongest else [self.tuning(base.name) for base in self.bases]

    def base(self, name: str) -> BaseFacts:
        """The facts of one of the plan's base models."""
        return next(base for base in self.bases if base.name == name)

    def place(self, base: str) -> int:
        """The place of one of the plan's base models among them, from 1: names of steps go by it."""
        return next(place for place, facts in enumerate(self.bases, 1) if facts.name == base)

    def tuned_from(self, base: str) -> list[Candidate]:
        """The candidates that are tuned from one of the base models."""
        return [candidate for candidate in self.candidates if candidate.base_model == base]

    def candidate(self, candidate_id: str) -> Candidate:
        """A candidate by its ID."""
        return next(candidate for candidate in self.candidates if candidate.id == candidate_id)

    def step(self, name: str) -> str:
        """The step name within the session: later plans and later attempts are told apart, so that none collide."""
        attempt = self.attempts.get(name, 0)
        return ("" if self.generation == 1 else f"g{self.generation}-") + name + (f"-r{attempt + 1}" if attempt else "")

    def again(self, *names: str) -> "Recipe":
        """This recipe with these steps begun anew, under new names."""
        attempts = self.attempts | {name: self.attempts.get(name, 0) + 1 for name in names}
        return self.model_copy(update={"attempts": attempts})
