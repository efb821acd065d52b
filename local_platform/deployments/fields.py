"""The body of a deployment request: documented fields [P70-P83], and the ones one machine must refuse, with reasons."""

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from local_platform.bodies import WireFloat, WireInt, parse_duration
from pilotlight.errors import InvalidArgument
from pilotlight.wire import Wire

LOAD_TARGETS = frozenset(
    {
        "default",
        "tokens_generated_per_second",
        "prompt_tokens_per_second",
        "requests_per_second",
        "concurrent_requests",
    }
)
MINIMUM_TO_ZERO = timedelta(minutes=5)
_HOUR = timedelta(hours=1)
_FULL_PRECISIONS = ("", "PRECISION_UNSPECIFIED", "FP16", "BF16")


class AutoscalingPolicy(Wire):
    """When replicas come and go; the defaults are the documented ones [P75]."""

    scale_up_window: str = "30s"
    scale_down_window: str = "600s"
    scale_to_zero_window: str = "3600s"
    load_targets: dict[str, WireFloat] = Field(default_factory=lambda: {"default": 0.8})


class DeploymentRequest(Wire):
    """What a caller may send to create or update a deployment. Zero or absent means: take the default."""

    base_model: str
    display_name: str = Field(default="", max_length=63)
    description: str = Field(default="", max_length=999)
    min_replica_count: WireInt = 0
    max_replica_count: WireInt | None = None
    autoscaling_policy: AutoscalingPolicy = Field(default_factory=AutoscalingPolicy)
    deployment_shape: str = ""
    enable_addons: bool = False
    expire_time: datetime | None = None
    max_context_length: WireInt = 0
    annotations: dict[str, str] = Field(default_factory=dict)
    precision: str = ""
    accelerator_type: str = ""
    accelerator_count: WireInt = 0
    placement: dict[str, Any] | None = None

    active_model_version: str = ""
    target_model_version: str = ""
    auto_tune: dict[str, Any] | None = None
    deployment_template: str = ""
    direct_route_api_keys: list[str] = Field(default_factory=list)
    direct_route_type: str = ""
    disable_deployment_size_validation: bool = False
    draft_model: str = ""
    draft_token_count: WireInt = 0
    enable_hot_load: bool = False
    enable_hot_reload_latest_addon: bool = False
    enable_mtp: bool = False
    enable_session_affinity: bool = False
    hot_load_bucket_type: str = ""
    hot_load_bucket_url: str = ""
    max_with_revocable_replica_count: WireInt = 0
    ngram_speculation_length: WireInt = 0
    pricing_plan_id: str = ""


MUTABLE = frozenset(
    {
        "displayName",
        "description",
        "minReplicaCount",
        "maxReplicaCount",
        "autoscalingPolicy",
        "enableAddons",
        "expireTime",
        "annotations",
    }
)
_ONE_MACHINE = "this platform is one machine"
_SPECULATION = "speculative decoding is not offered here"
_HOT_LOAD = "hot loading is not offered here; load LoRA addons with deployedModels"
_REASONS = {
    "activeModelVersion": "models have no versions here",
    "targetModelVersion": "models have no versions here",
    "deploymentTemplate": "there are no deployment templates here",
    "directRouteApiKeys": f"there are no direct routes, because {_ONE_MACHINE}",
    "directRouteType": f"there are no direct routes, because {_ONE_MACHINE}",
    "draftModel": _SPECULATION,
    "draftTokenCount": _SPECULATION,
    "ngramSpeculationLength": _SPECULATION,
    "enableMtp": _SPECULATION,
    "enableHotLoad": _HOT_LOAD,
    "enableHotReloadLatestAddon": _HOT_LOAD,
    "hotLoadBucketType": _HOT_LOAD,
    "hotLoadBucketUrl": _HOT_LOAD,
    "maxWithRevocableReplicaCount": f"there is no revocable capacity, because {_ONE_MACHINE}",
    "pricingPlanId": "prices come from the local price book",
}
_UNSPECIFIED = ("", "DIRECT_ROUTE_TYPE_UNSPECIFIED", "BUCKET_TYPE_UNSPECIFIED", "ACCELERATOR_TYPE_UNSPECIFIED")


def check_supported(request: DeploymentRequest, minimum_to_zero: timedelta = MINIMUM_TO_ZERO) -> None:
    """Refuse what cannot be honoured here, each with its reason. Raises InvalidArgument."""
    sent = request.model_dump(by_alias=True)
    for field, reason in _REASONS.items():
        if sent[field] and sent[field] not in _UNSPECIFIED:
            raise InvalidArgument(f"Field '{field}' is not supported: {reason}.")
    if request.precision not in _FULL_PRECISIONS:
        if request.enable_addons:
            raise InvalidArgument("addons cannot be enabled with quantized precisions (FP8/FP4)")
        raise InvalidArgument("Field 'precision' is not supported: models are served in their checkpoint's precision.")
    if request.accelerator_type not in _UNSPECIFIED or request.accelerator_count not in (0, 1):
        raise InvalidArgument(f"Fields 'acceleratorType' and 'acceleratorCount' are not supported: {_ONE_MACHINE}.")
    if request.placement and request.placement not in ({"multiRegion": "GLOBAL"}, {"multi_region": "GLOBAL"}):
        raise InvalidArgument(f"Field 'placement' is not supported: {_ONE_MACHINE}.")
    _check_replicas(request)
    _check_policy(request.autoscaling_policy, minimum_to_zero)


def most_replicas(request: DeploymentRequest) -> int:
    """The documented default: max(minReplicaCount, 1); an explicit 0 keeps the deployment down."""
    return max(request.min_replica_count, 1) if request.max_replica_count is None else request.max_replica_count


def _check_replicas(request: DeploymentRequest) -> None:
    low, high = request.min_replica_count, most_replicas(request)
    if not 0 <= low <= 1 or not 0 <= high <= 1:
        raise InvalidArgument(f"Replica counts must be 0 or 1: {_ONE_MACHINE}, and one replica uses it fully.")
    if low > high:
        raise InvalidArgument(f"minReplicaCount {low} is greater than maxReplicaCount {high}.")


def _check_policy(policy: AutoscalingPolicy, minimum_to_zero: timedelta) -> None:
    for field, value in (("scaleUpWindow", policy.scale_up_window), ("scaleDownWindow", policy.scale_down_window)):
        if parse_duration(value, f"autoscalingPolicy.{field}") > _HOUR:
            raise InvalidArgument(f"autoscalingPolicy.{field} must be at most 1 hour.")
    if parse_duration(policy.scale_to_zero_window, "autoscalingPolicy.scaleToZeroWindow") < minimum_to_zero:
        minutes = minimum_to_zero.total_seconds() / 60
        raise InvalidArgument(f"autoscalingPolicy.scaleToZeroWindow must be at least {minutes:g} minutes.")
    for name, target in policy.load_targets.items():
        if name not in LOAD_TARGETS:
            raise InvalidArgument(f"Unknown load target {name[:40]!r}.", hint=f"Use {', '.join(sorted(LOAD_TARGETS))}.")
        if not target > 0:
            raise InvalidArgument(f"Load target {name!r} must be greater than 0.")
