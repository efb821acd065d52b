"""States of deployments [P77] and deployed models, and what a deployment row says about its engine."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from local_platform.bodies import parse_duration
from local_platform.context import Platform
from local_platform.deployments.replica_policy import Load
from local_platform.deployments.replicas import Replica
from local_platform.serving.targets import EngineKey
from local_platform.tables import DeploymentRow
from pilotlight.clock import parse_rfc3339


class DeploymentState(StrEnum):
    """CREATING -> READY -> DELETED -> READY by undelete; FAILED while its engine cannot load."""

    CREATING = "CREATING"
    READY = "READY"
    FAILED = "FAILED"
    DELETED = "DELETED"


class DeployedState(StrEnum):
    """DEPLOYING until the engine holds the adapter, then DEPLOYED."""

    DEPLOYING = "DEPLOYING"
    DEPLOYED = "DEPLOYED"


ALIVE = (DeploymentState.CREATING, DeploymentState.READY, DeploymentState.FAILED)


def engine_key(platform: Platform, deployment: DeploymentRow) -> EngineKey:
    """The engine a deployment needs: its base, or its base with its LoRA merged in [P71].

    Raises NotFound when a model was deleted.
    """
    base = platform.model_directory(deployment.body["_base"])
    addon: str | None = deployment.body.get("_addon")
    return EngineKey(base, Path(platform.model_directory(addon)) if addon else None)


def load_of(deployment: DeploymentRow, replica: Replica) -> Load:
    """What the replica policy looks at."""
    body = deployment.body
    expires: str | None = body.get("expireTime")
    return Load(
        desired=replica.desired,
        minimum=body["minReplicaCount"],
        maximum=body["maxReplicaCount"],
        last_request=datetime.fromtimestamp(replica.last_request, UTC),
        to_zero_window=parse_duration(body["autoscalingPolicy"]["scaleToZeroWindow"], "scaleToZeroWindow"),
        expires=parse_rfc3339(expires) if expires else None,
    )
