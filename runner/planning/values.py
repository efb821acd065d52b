"""The plan's values, each marked as set by the user, default, or unknown: nothing is decided silently."""

from typing import Any, Literal

from pilotlight.plan import PlanValue, Scalar
from prompts import OPERATORS
from runner.planning.catalogue import BaseFacts
from runner.planning.grid import moves_together
from runner.planning.recipe import Recipe
from runner.planning.timing import SCALE_TO_ZERO_SECONDS
from runner.scoring.halving import list_rungs

FEW_STEPS = 150
Origin = Literal["set", "default", "unknown"]


def list_values(recipe: Recipe, intent: dict[str, Any], token_method: str, band: str) -> list[PlanValue]:
    """All of them, in the order a reader wants them."""
    return [
        *_data_values(recipe, intent, token_method),
        *[value for base in recipe.bases for value in _base_values(base, recipe, intent)],
        *_training_values(recipe, intent),
        *_result_values(recipe, intent, band),
    ]


def list_label_values(recipe: Recipe, intent: dict[str, Any], token_method: str, band: str) -> list[PlanValue]:
    """The same of a classification."""
    only = recipe.labels.benchmark_only
    tie = "its accuracy by choice; a tie (the interval of the paired difference contains 0) goes to the "
    asked = "greedy and free, and by the log-probabilities of the answers; the same rows for every model"
    values = [
        *_data_values(recipe, intent, token_method),
        *[value for base in recipe.bases for value in _base_values(base, recipe, intent)],
        _value("heldout_asked", "Held-out rows that are asked", recipe.prompts, "default", asked),
    ]
    if not only and len(recipe.bases) > 1:
        values.append(_value("tuned_base", "Base model to tune", "the strongest", "default", f"{tie}smaller"))
    if not only:
        values += [
            *_training_values(recipe, intent),
            _value("winner", "Winner by", "accuracy", "default", f"{tie}lower loss, then the smaller adapter"),
        ]
        values += _deployment_values(recipe)
    return [*values, _value("range", "Cost range", "low to high", "default", band)]


def list_pair_values(recipe: Recipe, intent: dict[str, Any], token_method: str, band: str) -> list[PlanValue]:
    """The same of preference learning."""
    betas: list[Scalar] = list(dict.fromkeys(candidate.beta for candidate in recipe.candidates))
    dpo = recipe.preference.method == "DPO"
    note = "how strongly a model is held to its base" if dpo else "the weight of preferring over imitating"
    asked = "how likely both answers are to every model, and what it answers itself (greedy)"
    tie = "a tie (the interval of the paired difference contains 0) goes to the smaller base model, then to who finds "
    measure = "win rate" if recipe.preference.by_wins and len(recipe.bases) == 1 else "preference accuracy"
    values = [
        *_data_values(recipe, intent, token_method),
        *[value for base in recipe.bases for value in _base_values(base, recipe, intent)],
        *_training_values(recipe, intent),
        _value("betas", "Beta", betas, _origin(intent, "betas"), note),
        _value("heldout_asked", "Held-out pairs that are asked", recipe.prompts, "default", asked),
        _value("winner", "Winner by", measure, "default", f"{tie}the preferred answers more likely"),
    ]
    if goal := recipe.preference.goal:
        note = "measured on the held-out pairs" if goal.measured else "not measured by this plan: it needs a judge"
        note += ", and the sweep ends as soon as it is reached" if goal.stops else ""
        shown = f"{goal.value:g}" if isinstance(goal.value, int | float) else goal.value
        text = f"{goal.metric.replace('_', ' ')} {OPERATORS[goal.op]} {shown}"
        values.append(_value("target", "Target", text, "set", note))
    return [*values, *_deployment_values(recipe), _value("range", "Cost range", "low to high", "default", band)]


def unread_values(intent: dict[str, Any]) -> list[PlanValue]:
    """What was said and cannot be set here: it is told, not dropped silently."""
    said = intent.get("unread") or []
    note = "not taken up: it cannot be set here; Managed Fine-Tuning and the Training API have more settings"
    return [_value("unread", "Also said", "; ".join(map(str, said)), "unknown", note)] if said else []


def _value(name: str, label: str, value: Scalar | list[Scalar], origin: Origin, note: str = "") -> PlanValue:
    return PlanValue(name=name, label=label, value=value, source=origin, note=note)


def _known(name: str, label: str, value: Scalar, note: str = "") -> PlanValue:
    """A property of the platform: unknown where it does not tell."""
    return _value(name, label, value, "unknown" if value is None else "default", note if value is not None else "")


def _origin(intent: dict[str, Any], field: str) -> Origin:
    return "set" if intent.get(field) not in (None, [], False) else "default"


def _data_values(recipe: Recipe, intent: dict[str, Any], token_method: str) -> list[PlanValue]:
    sampled = recipe.sample.name != recipe.train.name
    note = "drawn from the training side with seed 42" if sampled else "the whole training side; nothing to subsample"
    rows = [_value("hp_samples", "Rows for the sweep", recipe.sample.rows, _origin(intent, "hp_samples"), note)]
    return [
        _value("dataset", "Dataset", recipe.source, "set"),
        _value("heldout", "Held-out rows", recipe.heldout.rows, _origin(intent, "eval_dataset"), recipe.heldout.name),
        *(rows if recipe.sweep else []),
        _value(
            "tokens",
            "Training tokens per epoch",
            round(recipe.train.tokens * recipe.bases[0].token_scale),
            "default",
            token_method,
        ),
    ]


def _base_values(base: BaseFacts, recipe: Recipe, intent: dict[str, Any]) -> list[PlanValue]:
    many = len(recipe.bases) > 1
    prefix = f"{base.id}: " if many else ""
    return [
        _value("base_model", "Base model", base.name, _base_origin(recipe, intent)),
        _known("context_length", f"{prefix}Context length", base.context_length, "tokens; longer rows are cut there"),
        _known("chat_template", f"{prefix}Chat template", base.template, "the base model's own"),
        _known("lora_scale", f"{prefix}LoRA scale (alpha / rank)", base.lora_scale, "carried by the base model"),
        _known("batch_size", f"{prefix}Batch size", base.batch_tokens, "packed tokens per optimizer step"),
    ]


def _training_values(recipe: Recipe, intent: dict[str, Any]) -> list[PlanValue]:
    ranks: list[Scalar] = list(dict.fromkeys(candidate.lora_rank for candidate in recipe.candidates))
    rates: list[Scalar] = list(dict.fromkeys(candidate.learning_rate for candidate in recipe.candidates))
    formula = "min(5, ceil(2500 / training rows))"
    rows = [
        _method(recipe, intent),
        _value("lora_ranks", "LoRA ranks", ranks, _origin(intent, "lora_ranks")),
        _value("learning_rates", "Learning rates", rates, _origin(intent, "learning_rates")),
    ]
    if recipe.sweep:
        rows += _sweep_values(recipe, intent) if recipe.pairs is None else _unpruned(intent)
        epochs = recipe.candidates[0].epochs
        rows.append(_value("sweep_epochs", "Epochs in the sweep", epochs, _origin(intent, "epochs"), formula))
        parallel = _origin(intent, "max_parallel_jobs")
        rows.append(_value("max_parallel_jobs", "Jobs at a time, at most", recipe.max_parallel, parallel))
    rows.append(_steps(recipe))
    if recipe.final:
        label = "Epochs on the full training side"
        rows.append(_value("epochs", label, recipe.final_epochs, _origin(intent, "epochs"), formula))
    return rows


def _base_origin(recipe: Recipe, intent: dict[str, Any]) -> Origin:
    return "default" if recipe.pairs is not None and not intent.get("base_models") else "set"


def _method(recipe: Recipe, intent: dict[str, Any]) -> PlanValue:
    if recipe.pairs is None:
        return _value(
            "method", "Method", "LoRA supervised fine-tuning", "default", "loss on the assistant's words only"
        )
    what = {"DPO": "compared with the base model", "ORPO": "no reference model; it imitates the preferred answers too"}
    method = recipe.pairs.method
    return _value("method", "Method", f"LoRA {method}", _origin(intent, "preference_method"), what[method])


def _unpruned(intent: dict[str, Any]) -> list[PlanValue]:
    """Whether a wish for halving is not followed, and why."""
    if not intent.get("prune"):
        return []
    note = "held-out losses with another beta cannot be compared, so every candidate is trained to its end"
    return [_value("prune", "Successive halving", "off", "default", note)]


def _sweep_values(recipe: Recipe, intent: dict[str, Any]) -> list[PlanValue]:
    """Whether the grid tells rank and learning rate apart, and whether weak candidates are stopped."""
    together, note = moves_together(recipe.candidates), ""
    if together:
        note = "so the sweep cannot tell which of the two made the difference"
    shape = "rank and learning rate move together" if together else "rank and learning rate vary apart"
    rungs = list_rungs(max(candidate.epochs for candidate in recipe.candidates))
    halving, told = "off", "every candidate is trained to its end"
    if recipe.prune and rungs:
        halving = f"the weaker half is stopped after {', '.join(map(str, rungs))} epochs"
        told = "by its validation loss, as the platform tells it by epoch; what a stopped one has left is not spent"
    elif recipe.prune:
        told = "it has no effect: candidates are trained for one epoch only"
    origin = "set" if intent.get("prune") is not None else "default"
    return [
        _value("grid", "Grid", shape, _origin(intent, "grid"), note),
        _value("prune", "Successive halving", halving, origin, told),
    ]


def _steps(recipe: Recipe) -> PlanValue:
    """Optimizer steps of the longest run: too few of them is why small data often teaches nothing."""
    label, base, candidate = "Optimizer steps per run", recipe.bases[0], recipe.candidates[0]
    if not base.batch_tokens:
        return _known("steps", label, None)
    side, epochs = (recipe.train, recipe.final_epochs) if recipe.final else (recipe.sample, candidate.epochs)
    steps = round(side.tokens * base.token_scale * epochs / base.batch_tokens)
    few = f"few: under {FEW_STEPS} a model often learns little; more rows or more epochs help"
    return _value("steps", label, steps, "default", few if steps < FEW_STEPS else "tokens x epochs / batch size")


def _result_values(recipe: Recipe, intent: dict[str, Any], band: str) -> list[PlanValue]:
    return [
        _value("evaluation", "Winner by", "validation loss", _origin(intent, "evaluation"), "on the held-out side"),
        _value("prompts", "Held-out prompts for task metrics", recipe.prompts, "default", "greedy, base and tuned"),
        *_deployment_values(recipe),
        _value("range", "Cost range", "low to high", "default", band),
    ]


def _deployment_values(recipe: Recipe) -> list[PlanValue]:
    window = f"sleeps after {SCALE_TO_ZERO_SECONDS // 60} idle minutes; the first request wakes it"
    return [
        _value("deployment", "Deployment", "one replica at most, the tuned model merged in", "default", window),
        _value("deployment_hours", "Deployment approved for", recipe.deployment_hours, "default", "hours"),
    ]
