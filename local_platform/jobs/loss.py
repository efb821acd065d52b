"""The body of a preference job request, as the official SDK sends it, and its `lossConfig` with defaults filled in.

`evaluationDataset`, `evalAutoCarveout`, `earlyStop` and `usePurpose` are local extensions with the meaning that they
have on supervised jobs; the documented request has no held-out pairs.
"""

from typing import Any, Literal, NamedTuple

from local_platform.bodies import WireFloat, WireInt
from local_platform.jobs.fields import DataFields, JobRequest, TrainingFields
from pilotlight.errors import InvalidArgument
from pilotlight.wire import Wire

DEFAULT_BETA = 0.1
METHODS: tuple[Literal["DPO", "ORPO"], ...] = ("DPO", "ORPO")
_OTHER_METHODS = ("GRPO", "DAPO", "GSPO_TOKEN")


class DpoFields(Wire):
    """`lossConfig.dpo`."""

    beta: WireFloat | None = None
    ref_cache_concurrency: WireInt | None = None
    """Any limit holds here: the reference is read one pass at a time."""
    ref_cache_batch_size: WireInt | None = None
    """Pairs per forward pass of the reference."""


class LossFields(Wire):
    """`lossConfig`."""

    method: str | None = None
    kl_beta: WireFloat | None = None
    """Another place for beta; what ORPO's weight is usually sent as."""
    dpo: DpoFields | None = None


class PreferenceRequest(DataFields):
    """What a caller may send to `dpoJobs`."""

    training_config: TrainingFields | None = None
    loss_config: LossFields | None = None

    def to_job(self) -> JobRequest:
        """The same wishes in the form of a supervised job."""
        own = self.model_dump(exclude={"training_config", "loss_config"})
        return JobRequest.model_validate(own | (self.training_config or TrainingFields()).model_dump())


class LossSettings(NamedTuple):
    """A method with every default filled in."""

    method: Literal["SFT", "DPO", "ORPO"]
    beta: float = DEFAULT_BETA
    reference_batch_pairs: int | None = None
    shown: dict[str, Any] | None = None
    """`lossConfig` as the resource shows it."""


SUPERVISED_LOSS = LossSettings("SFT")


def settle_loss(config: LossFields | None) -> LossSettings:
    """Check a `lossConfig`; without one, or without a method, it is DPO. Raises InvalidArgument."""
    config = config or LossFields()
    method = _method(config.method)
    dpo = config.dpo or DpoFields()
    if dpo.beta is not None and config.kl_beta is not None and dpo.beta != config.kl_beta:
        raise InvalidArgument(
            f"lossConfig.dpo.beta is {dpo.beta:g} and lossConfig.klBeta {config.kl_beta:g}: send one."
        )
    beta = _beta(method, dpo.beta if dpo.beta is not None else config.kl_beta)
    _at_least_one(dpo.ref_cache_concurrency, "refCacheConcurrency")
    batch = _at_least_one(dpo.ref_cache_batch_size, "refCacheBatchSize")
    shown: dict[str, Any] = config.model_dump(by_alias=True, exclude_none=True) | {"method": method}
    if method == "DPO":
        shown["dpo"] = shown.get("dpo", {}) | {"beta": beta}
    elif dpo.beta is None:
        shown["klBeta"] = beta
    return LossSettings(method, beta, batch, shown)


def _method(value: str | None) -> Literal["DPO", "ORPO"]:
    if value in (None, "", "METHOD_UNSPECIFIED"):
        return "DPO"
    for method in METHODS:
        if value == method:
            return method
    if value in _OTHER_METHODS:
        raise InvalidArgument(
            f"lossConfig.method {value} is not supported: it learns from rewards of generated answers, not from pairs.",
            hint="Use DPO or ORPO.",
        )
    raise InvalidArgument(f"Invalid lossConfig.method {str(value)[:40]!r}.", hint="Use DPO or ORPO.")


def _beta(method: str, value: float | None) -> float:
    beta = DEFAULT_BETA if value is None else value
    if method == "DPO" and not 0 < beta < 0.5:
        raise InvalidArgument(f"Invalid beta {beta:g}: for DPO it must be greater than 0 and less than 0.5.")
    if not 0 < beta <= 1:
        raise InvalidArgument(f"Invalid beta {beta:g}: for ORPO it must be greater than 0 and at most 1.")
    return beta


def _at_least_one(value: int | None, field: str) -> int | None:
    if value is not None and value < 0:
        raise InvalidArgument(f"Invalid lossConfig.dpo.{field} {value}: it must be at least 1.")
    return value or None
