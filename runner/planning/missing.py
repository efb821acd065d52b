"""What to ask when something is missing or cannot be done as asked: fields with defaults, and the words around them."""

from typing import Any

import prompts
from pilotlight.errors import FailedPrecondition
from pilotlight.money import show
from pilotlight.question import Option, QuestionField
from runner.data.store import load_facts, load_source
from runner.planning.catalogue import BaseFacts, list_bases, recommend
from runner.planning.prepare import chosen_bases
from runner.turn import Turn
from runner.workflows import workflow_of

MANAGED = "Managed Fine-Tuning"
TRAINING_API = "the Training API"
REFUSALS = {
    "rft_training": ("RFT training is not run here", MANAGED),
    "custom_loss": ("Custom loss functions and hybrid objectives are not supported in Agent", TRAINING_API),
    "training_loop": ("An arbitrary Python training loop is not supported in Agent", TRAINING_API),
    "hotload": ("Hot-loading checkpoints or sampling during training is not supported in Agent", TRAINING_API),
    "full_parameter": (
        "Full-parameter tuning is not supported in Agent; use Managed Fine-Tuning or the Training API",
        MANAGED,
    ),
    "destructive": (
        "Nothing is ever deleted, cancelled or overwritten here; that is refused by design",
        "your own key with firectl, or ask to list, inspect, create or monitor instead",
    ),
    "unattended": (
        "Nothing is spent here without an approval, by design",
        f"{MANAGED}, or an autoApprove ceiling that a person sets in advance (`firectl session create --auto-approve`)",
    ),
    "submit_only": ("A single job with settings that are known already needs no plan, no sweep and no agent", MANAGED),
    "unknown_method": ("That method is outside what is supported here", f"{MANAGED} or {TRAINING_API}"),
}
_EVALUATION = QuestionField(
    name="evaluation",
    label="How should the candidates be compared?",
    type="choice",
    options=[
        Option(
            value="validation_loss",
            label="validation loss on held-out rows, with exact match and token F1 of the final model",
            recommended=True,
        )
    ],
    default="validation_loss",
)


def build_fields(turn: Turn, intent: dict[str, Any], reason: str) -> list[QuestionField]:
    """One field for each thing that is not settled."""
    bases = list_bases(turn.client, turn.context.account)
    known, _ = chosen_bases(intent, bases)
    fields: list[QuestionField] = []
    if not intent.get("train_dataset") or reason in ("dataset", "too_small"):
        fields.append(_dataset_field(turn))
    if bases and (not known or reason == "base_model"):
        fields.append(_base_field(turn, intent, bases))
    if fields and not intent.get("evaluation") and intent.get("workflow") not in ("classification", "preference"):
        fields.append(_EVALUATION)
    if reason == "evaluation":
        fields.append(_EVALUATION)
    return fields


def explain(turn: Turn, intent: dict[str, Any], reason: str, note: str, fields: list[QuestionField]) -> str:
    """The question as the user reads it."""
    bases = list_bases(turn.client, turn.context.account)
    refusal, pointer = REFUSALS.get(str(intent.get("unsupported", "")), ("", ""))
    _, unknown = chosen_bases(intent, bases)
    return prompts.render(
        "missing.md.j2",
        reason=reason,
        note=note,
        refusal=refusal,
        pointer=pointer,
        intent=intent,
        unknown=unknown,
        bases=bases,
        fields=fields,
        account=turn.context.account,
    )


def _dataset_field(turn: Turn) -> QuestionField:
    page = turn.client.get(f"/v1/accounts/{turn.context.account}/datasets", pageSize=50)
    ready = [dataset for dataset in page.get("datasets", []) if dataset.get("state") == "READY"]
    mine = [dataset for dataset in ready if "/datasets/ft-" not in dataset["name"]]
    options = [Option(value=item["name"], label=_dataset_label(item)) for item in mine[:10]]
    return QuestionField(
        name="train_dataset", label="Which dataset should the model learn from?", type="choice", options=options
    )


def _dataset_label(dataset: dict[str, Any]) -> str:
    rows = dataset.get("exampleCount")
    return dataset["name"] + (f" ({int(rows):,} rows)" if rows else "")


def _base_field(turn: Turn, intent: dict[str, Any], bases: list[BaseFacts]) -> QuestionField:
    source = load_source(turn.workspace, "train")
    longest = round(max(source.profile.tokens, default=0) * _scale(turn)) if source else 0
    best = recommend(bases, longest)
    ordered = sorted(bases, key=lambda base: base is not best)
    inspected = source is not None and source.name == intent.get("train_dataset")
    options = [
        Option(
            value=base.id,
            label=base.display_name,
            cost=option_cost(turn, intent, base) if inspected else "",
            recommended=base is best,
        )
        for base in ordered
    ]
    return QuestionField(name="base_models", label="Which base model?", type="choice", options=options, default=best.id)


def _scale(turn: Turn) -> float:
    return float((load_facts(turn.workspace, "train") or {}).get("token_scale", 1.0))


def option_cost(turn: Turn, intent: dict[str, Any], base: BaseFacts) -> str:
    """The preview's total for this base, or why there is none."""
    try:
        plan = workflow_of(intent).draft(turn, intent, [base], 1).plan
    except FailedPrecondition as error:
        return error.message
    if plan.cost.unknown:
        return "price unknown"
    seconds = plan.cost.wall_seconds
    time = f", about {prompts.show_seconds(seconds)}" if seconds is not None else ""
    return f"{show(plan.cost.total())} ({show(plan.cost.total('low'))} to {show(plan.cost.total('high'))}){time}"
