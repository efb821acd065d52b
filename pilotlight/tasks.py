"""What the plan of one workflow says beside what all plans say: labels, preferences, a registration."""

from typing import Literal

from pydantic import Field

from pilotlight.wire import Wire

Mitigation = Literal["none", "rebalance", "weights"]
"""What is done about labels with very different numbers of rows, in the training data only."""


class LabelRows(Wire):
    """One label of a classification plan, and its rows."""

    label: str
    train_rows: int
    heldout_rows: int


class Classification(Wire):
    """What a classification plan predicts, and from what it knows the right answers."""

    labels: list[LabelRows]
    given: bool
    """Whether the user named the labels; else they are those of the data."""
    multi: bool
    """Whether a row can have several."""
    rule: str
    """In words: where a row's label is read."""
    labelled_rows: int
    """Rows that the rule finds a label in; the others are left out."""
    ratio: float
    """Rows of the most frequent over rows of the least frequent label that has any."""
    threshold: float
    mitigation: Mitigation
    offers: list[str] = Field(default_factory=list)
    """What can be said to change it, where the ratio is above the threshold."""
    choices: int
    """Among how many answers a model chooses when it is not free in what it writes."""
    tunes: Literal["strongest", "one", "none"]
    """Which of the base models is tuned."""


class Goal(Wire):
    """What the user wants to be reached: a share (0 to 1), a loss, or the name of a model to be better than."""

    metric: str
    op: Literal[">", ">=", "<", "<=", "=="]
    value: float | str
    stops: bool = False
    """Whether the sweep ends as soon as a candidate reaches it."""
    measured: bool
    """Whether this plan measures the metric at all; where it does not, the report says so."""


class PairMaking(Wire):
    """How a preference plan makes its pairs, where the dataset holds prompts only."""

    strong: str
    weak: str
    """Base models that answer the prompts."""
    prompts: int
    unseen: int
    """Held-out prompts, of which no pair is made."""
    most_tokens: int
    """Of an answer."""


class Preference(Wire):
    """What a preference plan learns from, and how."""

    method: Literal["DPO", "ORPO"]
    pairs: int
    """Usable ones, of both sides together."""
    longer_preferred: float
    """Share of the pairs whose preferred answer is the longer one."""
    swept_bases: bool
    """Whether the base models were chosen by the plan, because the user named none."""
    left_out: list[str] = Field(default_factory=list)
    """Base models that were not taken into that sweep."""
    goal: Goal | None = None
    judge: str
    """Who compares answers: a base model, or a rule."""
    criterion: str
    """By what: the rubric, or the rule in words."""
    given: bool
    """Whether the user gave the criterion."""
    judged_prompts: int
    """Held-out prompts on which tuned and base models are compared, at most."""
    making: PairMaking | None = None


class RegistrationCheck(Wire):
    """What answers of one kind were scored when an evaluator was validated."""

    answers: str
    count: int
    mean: float


class Registration(Wire):
    """An evaluator that approval registers with the account, as it was validated."""

    evaluator: str
    """Its full name."""
    file: str
    """In the session's files."""
    source: str
    """What is in it."""
    digest: str
    """SHA-256 of the file, in hex."""
    packages: list[str]
    checks: list[RegistrationCheck]
    validation: list[str]
    """Commands that validate it elsewhere."""
    save: str
    """The command that does the same as approval."""
