"""Which deployment answers for a `model` string [P74]; implements the resolver the inference routes ask.

`accounts/a/deployments/d` is the model the deployment was made for; `accounts/a/models/m` is the default target of a
deployed model; `<model>#<deployment>` names both. A short ID is taken in the caller's account.
"""

from pathlib import Path
from typing import NamedTuple

from sqlmodel import Session

from local_platform.context import Platform
from local_platform.deployments.replicas import ReplicaBoard
from local_platform.deployments.state import DeploymentState, engine_key
from local_platform.resources import find, get, select_rows
from local_platform.serving.targets import AdapterFailed, Caller, DeploymentScalingUp, EngineKey, ServedModel, Target
from local_platform.tables import DeployedModelRow, DeploymentRow, ModelRow
from pilotlight.clock import as_utc
from pilotlight.errors import InvalidArgument, NotFound, Unavailable
from pilotlight.names import expand_name, parse_name


class _Choice(NamedTuple):
    """A model on a deployment, and its entry if it was deployed as such."""

    deployment: DeploymentRow
    model: ModelRow
    deployed: DeployedModelRow | None


class Resolver:
    """Safe from any thread. Resolving counts as traffic, and brings a sleeping replica up."""

    def __init__(self, platform: Platform, board: ReplicaBoard) -> None:
        self._platform, self._board = platform, board

    def resolve_model(self, caller: Caller, model: str) -> Target:
        """The target whose engine is loaded.

        Raises NotFound, DeploymentScalingUp, AdapterFailed, Unavailable (no replicas allowed, or loading failed).
        """
        with self._platform.reading() as db:
            deployment, row, deployed = self._choose(db, caller.account, model)
        self._check_up(deployment)
        if deployed and deployed.body["status"]["code"] != "OK":
            raise AdapterFailed(f"{row.name} failed to load: {deployed.body['status']['message']}")
        key = engine_key(self._platform, deployment)
        merged = row.name == deployment.body.get("_addon") or row.body.get("kind") != "HF_PEFT_ADDON"
        return Target(
            model=model,
            deployment=deployment.name,
            engine=EngineKey(key.base_directory, key.merged_adapter),
            adapter=None if merged else row.name,
            adapter_directory=None if merged else Path(row.body["_directory"]),
            context_length=deployment.body["maxContextLength"],
            chat_template=row.body.get("_chatTemplate"),
        )

    def list_models(self, caller: Caller) -> list[ServedModel]:
        """What is deployed for the caller, each model once."""
        with self._platform.reading() as db:
            deployed = [row for row in select_rows(db, DeployedModelRow, caller.account) if row.body["default"]]
            pairs = [(row, get(db, ModelRow, row.body["model"])) for row in deployed]
        return [
            ServedModel(
                id=model.name,
                created=int(as_utc(row.create_time).timestamp()),
                owned_by=model.account,
                context_length=model.body.get("contextLength"),
                kind=model.body["kind"],
            )
            for row, model in pairs
        ]

    def _check_up(self, deployment: DeploymentRow) -> None:
        replica = self._board.replica(deployment.name)
        problem = replica.problem
        if deployment.body["maxReplicaCount"] == 0:
            raise Unavailable(f"{deployment.name} allows no replicas.", hint="Raise its maxReplicaCount.")
        self._board.ask(deployment.name)
        if problem:
            raise Unavailable(f"{deployment.name} failed to come up: {problem}", hint="It tries again now.")
        if not replica.ready:
            raise DeploymentScalingUp(deployment.name)

    def _choose(self, db: Session, account: str, text: str) -> _Choice:
        try:
            return self._parse(db, account, text)
        except InvalidArgument as error:
            raise NotFound(f"Model {text[:200]!r} is not a name of a model or deployment.", hint=error.hint) from error

    def _parse(self, db: Session, account: str, text: str) -> _Choice:
        model, _, suffix = text.partition("#")
        if suffix:
            deployment = self._deployment(db, account, expand_name(suffix, account, "deployments"))
            return self._on(db, deployment, expand_name(model, account, "models"))
        if "/deployments/" in model:
            deployment = self._deployment(db, account, str(parse_name(model, "deployments")))
            return self._on(db, deployment, deployment.body["baseModel"])
        name = expand_name(model, account, "models")
        deployed = [row for row in select_rows(db, DeployedModelRow, account) if row.body["model"] == name]
        if not deployed:
            raise _not_deployed(text)
        best = max(deployed, key=lambda row: row.body["default"])
        return self._on(db, self._deployment(db, account, best.body["deployment"]), name)

    def _on(self, db: Session, deployment: DeploymentRow, model: str) -> _Choice:
        rows = (row for row in select_rows(db, DeployedModelRow, deployment.account) if row.body["model"] == model)
        deployed = next((row for row in rows if row.body["deployment"] == deployment.name), None)
        row = find(db, ModelRow, model)
        if row is None or (deployed is None and model != deployment.body["baseModel"]):
            raise _not_deployed(f"{model}#{deployment.name}")
        return _Choice(deployment, row, deployed)

    def _deployment(self, db: Session, account: str, name: str) -> DeploymentRow:
        row = find(db, DeploymentRow, name)
        # Another account's deployment is not there for this caller.
        if row is None or row.account != account or row.state == DeploymentState.DELETED:
            raise _not_deployed(name)
        return row


def _not_deployed(text: str) -> NotFound:
    return NotFound(f"Model {text[:200]!r} does not exist or is not deployed.", hint="List deployments, or create one.")
