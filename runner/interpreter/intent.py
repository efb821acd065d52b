"""What an instruction or a reply says, as typed values. JSON names are the contract [DESIGN section 7]."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Workflow = Literal["sft", "preference", "classification", "evaluator", "question", "unsupported"]
Evaluation = Literal["validation_loss", "evaluator", "generated", "rubric"]
Unsupported = Literal[
    "rft_training",
    "custom_loss",
    "training_loop",
    "hotload",
    "full_parameter",
    "destructive",
    "unknown_method",
    "unattended",
    "submit_only",
]
ReplyDecision = Literal["approve", "revise", "reject", "question", "unclear"]


class Target(BaseModel):
    """A wanted result: `value` is a number (shares as 0 to 1) or the name of a model to compare with."""

    model_config = ConfigDict(extra="forbid")

    metric: str
    op: Literal[">", ">=", "<", "<=", "=="]
    value: float | str


class Intent(BaseModel):
    """None means: not said. `said()` is the JSON form, without what was not said."""

    model_config = ConfigDict(extra="forbid")

    workflow: Workflow | None = None
    then: Workflow | None = None
    train_dataset: str | None = None
    eval_dataset: str | None = None
    base_models: list[str] | None = None
    sweep_base_models: bool | None = None
    preference_method: Literal["dpo", "orpo"] | None = None
    generate_pairs: bool | None = None
    strong_model: str | None = None
    weak_model: str | None = None
    judge_model: str | None = None
    evaluation: Evaluation | None = None
    evaluator: str | None = None
    rubric: str | None = None
    evaluator_kind: Literal["sft", "rft"] | None = None
    scoring_intent: str | None = None
    lora_ranks: list[int] | None = None
    learning_rates: list[float] | None = None
    betas: list[float] | None = None
    epochs: float | None = None
    hp_samples: int | None = None
    max_parallel_jobs: int | None = None
    skip_sweep: bool | None = None
    prune: bool | None = None
    """Whether the weaker candidates are stopped on the way (successive halving)."""
    grid: Literal["usual", "separated", "full"] | None = None
    """How rank and learning rate vary: together, each alone, or in all combinations."""
    skip_final_training: bool | None = None
    benchmark_only: bool | None = None
    train_fraction: float | None = None
    labels: list[str] | None = None
    label_count: int | None = None
    imbalance_threshold: float | None = None
    imbalance_mitigation: Literal["none", "rebalance", "weights"] | None = None
    drop_labels: list[str] | None = None
    label_rule: str | None = None
    """Where a row's label is read: `message`, `json:FIELD` or `after:MARKER`."""
    budget_usd: float | None = None
    target: Target | None = None
    stop_at_target: bool | None = None
    unsupported: Unsupported | None = None
    question: str | None = None
    unread: list[str] | None = None
    """Settings that were named and that nothing here can take up, in the user's words."""
    missing: list[str] = Field(default_factory=list)

    def said(self) -> dict[str, Any]:
        """The JSON form: only what was said; whole numbers of epochs as integers."""
        values = self.model_dump(exclude_none=True)
        if not values["missing"]:
            del values["missing"]
        if isinstance(epochs := values.get("epochs"), float) and epochs.is_integer():
            values["epochs"] = int(epochs)
        return values


class Reply(BaseModel):
    """A reading of a reply to an approval.

    `changes` holds Intent fields, `candidate` at the promotion and comparison gates, and `deploy` at the latter.
    """

    model_config = ConfigDict(extra="forbid")

    decision: ReplyDecision
    changes: dict[str, Any] = Field(default_factory=dict)
