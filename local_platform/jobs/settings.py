"""From what a job request says and what its base model is to the values that are trained with. Pure, no I/O."""

import math
from decimal import Decimal
from typing import Any

from jinja2 import TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

from local_platform.jobs.fields import JobRequest
from pilotlight.errors import InvalidArgument
from pilotlight.wire import Wire

MAX_ROW_EPOCHS = 3_000_000
"""Dataset examples times epochs [P25]."""
MAX_EPOCHS = 1000
DEFAULT_CONTEXT = 32_768
LORA_RANKS = (1, 2, 4, 8, 16, 32)
LEARNING_RATES = (1e-5, 5e-4)
"""Valid range unless the base model states its own [P66]."""
RATE_DIVISORS = {"DPO": 10.0}
"""By method: DPO has to move ten times as slowly as other methods, or what the model says collapses."""
_FULL_PARAMETER = (
    "Full-parameter tuning (loraRank 0) is not available: this platform trains LoRA addons only.",
    "Use loraRank 8, 16 or 32, or run full-parameter training with a recipe of your own outside this platform.",
)
WARM_START_KEEPS = ("loraRank", "learningRate", "maxContextLength", "batchSize")
"""A continued LoRA keeps these of the job that made it [P65]."""


class JobSettings(Wire):
    """Hyper-parameters with every default filled in; wire names, as the job resource shows them."""

    epochs: float
    learning_rate: float
    learning_rate_warmup_steps: int
    lora_rank: int
    batch_size: int
    batch_size_samples: int | None
    gradient_accumulation_steps: int
    max_context_length: int
    optimizer_weight_decay: float
    early_stop: bool
    eval_auto_carveout: bool
    jinja_template: str | None


def settle(
    request: JobRequest,
    base: dict[str, Any],
    rows: int,
    inherited: dict[str, Any] | None = None,
    method: str = "SFT",
) -> JobSettings:
    """Check a request against its base model's body and the dataset's row count, and fill in defaults.

    `inherited` are the settings of the job a warm start continues, by wire name. Raises InvalidArgument.
    """
    kept = _keep(request, inherited or {})
    details: dict[str, Any] = base.get("localDetails") or {}
    settings = JobSettings(
        epochs=_epochs(request.epochs, rows),
        learning_rate=_learning_rate(kept["learningRate"], details, RATE_DIVISORS.get(method, 1.0)),
        learning_rate_warmup_steps=_at_least(request.learning_rate_warmup_steps or 0, 0, "learningRateWarmupSteps"),
        lora_rank=_rank(kept["loraRank"]),
        batch_size=_at_least(kept["batchSize"] or int(details["defaultBatchTokens"]), 1, "batchSize"),
        batch_size_samples=_optional_count(request.batch_size_samples, "batchSizeSamples"),
        gradient_accumulation_steps=_at_least(request.gradient_accumulation_steps or 1, 1, "gradientAccumulationSteps"),
        max_context_length=_context(kept["maxContextLength"], int(base["contextLength"])),
        optimizer_weight_decay=_weight_decay(request.optimizer_weight_decay),
        early_stop=request.early_stop,
        eval_auto_carveout=_carveout(request),
        jinja_template=_template(request.jinja_template),
    )
    return settings


def show_number(value: float) -> str:
    """A number as the documented texts write it: 1e-2, 5e-4, 1.5e-4."""
    mantissa, exponent = f"{Decimal(repr(value)).normalize():e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _keep(request: JobRequest, inherited: dict[str, Any]) -> dict[str, Any]:
    sent = request.model_dump(by_alias=True)
    for field in WARM_START_KEEPS:
        if sent[field] and field in inherited and sent[field] != inherited[field]:
            raise InvalidArgument(
                f"Field '{field}' must be {inherited[field]} when warm starting from {request.warm_start_from!r}: "
                "a continued LoRA keeps its rank, learning rate, context length and batch size.",
                hint="Leave the field out.",
            )
    kept = {field: inherited.get(field, sent[field]) for field in WARM_START_KEEPS}
    return kept | {"loraRank": 0} if request.lora_rank == 0 else kept


def _epochs(value: float | None, rows: int) -> float:
    epochs = 1.0 if value is None else value
    if not 0 < epochs <= MAX_EPOCHS:
        raise InvalidArgument(f"Invalid epochs {epochs:g}: it must be greater than 0 and at most {MAX_EPOCHS}.")
    if math.ceil(rows * epochs) > MAX_ROW_EPOCHS:
        raise InvalidArgument(
            f"Dataset examples x epochs is {rows} x {epochs:g}, more than the maximum of {MAX_ROW_EPOCHS:,}."
        )
    return epochs


def _learning_rate(value: float | None, details: dict[str, Any], divisor: float) -> float:
    rate = value or round(float(details.get("defaultLearningRate") or 1e-4) / divisor, 12)
    low, high = details.get("learningRateRange") or LEARNING_RATES
    low = round(low / divisor, 12)
    if not low <= rate <= high:
        span = f"[{show_number(low)}, {show_number(high)}]"
        raise InvalidArgument(f"Learning rate {show_number(rate)} outside valid range {span}")
    return rate


def _rank(value: int | None) -> int:
    if value == 0:
        raise InvalidArgument(_FULL_PARAMETER[0], hint=_FULL_PARAMETER[1])
    rank = 8 if value is None else value
    if rank not in LORA_RANKS:
        raise InvalidArgument(f"Invalid loraRank {rank}: it must be a power of 2 up to 32.")
    return rank


def _context(value: int | None, maximum: int) -> int:
    length = value or min(DEFAULT_CONTEXT, maximum)
    if not 2 <= length <= maximum:
        raise InvalidArgument(f"Invalid maxContextLength {length}: the base model supports 2 to {maximum} tokens.")
    return length


def _weight_decay(value: float | None) -> float:
    decay = value or 0.0
    if not 0 <= decay <= 1:
        raise InvalidArgument(f"Invalid optimizerWeightDecay {decay:g}: it must be between 0 and 1.")
    return decay


def _carveout(request: JobRequest) -> bool:
    if request.evaluation_dataset and request.eval_auto_carveout:
        raise InvalidArgument("Only one of 'evaluationDataset' and 'evalAutoCarveout' should be specified.")
    return not request.evaluation_dataset if request.eval_auto_carveout is None else request.eval_auto_carveout


def _optional_count(value: int | None, field: str) -> int | None:
    return _at_least(value, 1, field) if value else None


def _at_least(value: int, minimum: int, field: str) -> int:
    if value < minimum:
        raise InvalidArgument(f"Invalid {field} {value}: it must be at least {minimum}.")
    return value


def _template(text: str | None) -> str | None:
    if not text:
        return None
    try:
        SandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(_without_generation_tags(text))
    except TemplateSyntaxError as error:
        raise InvalidArgument(f"Invalid jinjaTemplate: {error.message} on line {error.lineno}.") from error
    return text


def _without_generation_tags(text: str) -> str:
    # `{% generation %}` is an extension of transformers that plain Jinja does not know.
    for word in ("generation", "endgeneration"):
        for open_, close in (("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")):
            text = text.replace(f"{open_} {word} {close}", "")
    return text
