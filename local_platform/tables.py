"""One table per kind of resource, all of one shape: what is indexed beside `body`, the JSON of the wire fields.

Keys of `body` that start with `_` are internal and never leave the process.
"""

from datetime import datetime
from typing import Any

from sqlmodel import JSON, Field, SQLModel

from pilotlight.clock import now


class Resource(SQLModel):
    """Columns every resource has. `id` is unique within account and collection, `name` everywhere."""

    name: str = Field(primary_key=True)
    account: str = Field(index=True)
    id: str
    state: str = Field(default="", index=True)
    create_time: datetime = Field(default_factory=now)
    update_time: datetime = Field(default_factory=now)
    body: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)


class DatasetRow(Resource, table=True):
    """accounts/*/datasets/*"""

    __tablename__ = "platform_dataset"  # pyright: ignore[reportAssignmentType]


class ModelRow(Resource, table=True):
    """accounts/*/models/*: base models and LoRA addons."""

    __tablename__ = "platform_model"  # pyright: ignore[reportAssignmentType]


class JobRow(Resource, table=True):
    """accounts/*/supervisedFineTuningJobs/*"""

    __tablename__ = "platform_job"  # pyright: ignore[reportAssignmentType]


class DeploymentRow(Resource, table=True):
    """accounts/*/deployments/*"""

    __tablename__ = "platform_deployment"  # pyright: ignore[reportAssignmentType]


class DeployedModelRow(Resource, table=True):
    """accounts/*/deployedModels/*: a LoRA loaded on a deployment."""

    __tablename__ = "platform_deployed_model"  # pyright: ignore[reportAssignmentType]


class EvaluatorRow(Resource, table=True):
    """accounts/*/evaluators/*"""

    __tablename__ = "platform_evaluator"  # pyright: ignore[reportAssignmentType]


class EvaluationJobRow(Resource, table=True):
    """accounts/*/evaluationJobs/*"""

    __tablename__ = "platform_evaluation_job"  # pyright: ignore[reportAssignmentType]
