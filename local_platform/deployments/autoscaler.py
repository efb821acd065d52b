"""Brings each deployment's replica to where its policy wants it: loads and releases engines, ends what has expired.

A thread of the platform process. It is the only writer of deployment states after creation, except delete and undelete.
"""

import logging
import threading
import time
from datetime import timedelta

from sqlmodel import Session

from local_platform.background import Background
from local_platform.context import Platform
from local_platform.deployments.replica_policy import end_of_life, wanted_replicas
from local_platform.deployments.replicas import HEARTBEAT, Replica, ReplicaBoard, ReplicaWish, note_service, note_wish
from local_platform.deployments.state import (
    ALIVE,
    DeployedState,
    DeploymentState,
    engine_key,
    load_of,
)
from local_platform.resources import delete, find, get, select_rows, update_body
from local_platform.serving.interface import InferenceEngine
from local_platform.serving.manager import EngineManager
from local_platform.serving.targets import EngineKey
from local_platform.speed.machine import accelerator
from local_platform.tables import DeployedModelRow, DeploymentRow
from pilotlight.clock import now, parse_rfc3339, to_rfc3339
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import PilotlightError

TICK = 0.2
PURGE_AFTER = timedelta(days=7)
"""A deleted deployment can be brought back this long."""
_log = logging.getLogger(__name__)


class Autoscaler:
    """Owns the engines' holders. Its public methods are safe from any thread."""

    def __init__(self, platform: Platform, engines: EngineManager, board: ReplicaBoard) -> None:
        self._platform, self._engines, self._board = platform, engines, board
        self._lock = threading.RLock()
        self._held: dict[str, EngineKey] = {}
        self._background = Background("autoscaler", self.tick, TICK, board.changed)

    def start(self) -> None:
        """Take up what an earlier process wanted, then run until `stop`."""
        with self._platform.reading() as db:
            self._board.load(db)
        self._background.start()

    def stop(self) -> None:
        """Stop scaling and write down the time served."""
        self._background.stop()
        self.note_service()

    def note_service(self) -> None:
        """Write down the time served up to now."""
        with self._lock, self._platform.writing() as db:
            for deployment in select_rows(db, DeploymentRow, None, *ALIVE):
                self._note(db, deployment, self._board.replica(deployment.name))
            db.commit()

    def tick(self) -> None:
        """One look at every deployment."""
        with self._lock:
            with self._platform.reading() as db:
                names = [row.name for row in select_rows(db, DeploymentRow) if _needs_a_look(row)]
            for name in names:
                with self._platform.writing() as db:
                    row = find(db, DeploymentRow, name)
                    if row is not None:
                        self._look_after(db, row)
                    db.commit()
                    reach(Point.PLATFORM_REPLICA_ADVANCED)

    def delete(self, name: str, *, hard: bool) -> None:
        """Take the replica down and delete the deployment: softly, or for good. Raises NotFound."""
        # The lock before the transaction, here as everywhere in this class: the other order would deadlock with `tick`.
        with self._lock, self._platform.writing() as db:
            row = get(db, DeploymentRow, name)
            if row.state != DeploymentState.DELETED:
                self._retire(db, row, "Deleted by request.")
            if hard:
                self._purge(db, row)
            db.commit()

    def engine_of(self, deployment: str) -> EngineKey | None:
        """The engine a deployment holds now, loaded or loading."""
        return self._held.get(deployment)

    def unload(self, name: str) -> None:
        """Take a deployed model off its deployment; the engine drops it unless another deployment serves it too.

        Raises NotFound.
        """
        with self._lock, self._platform.writing() as db:
            deployed = get(db, DeployedModelRow, name)
            model, key = deployed.body["model"], self._held.get(deployed.body["deployment"])
            delete(db, deployed)
            others = (row for row in select_rows(db, DeployedModelRow) if row.body["model"] == model)
            shared = any(self._held.get(row.body["deployment"]) == key for row in others)
            if key and not shared and self._engines.status(key).state == "ready":
                engine = self._engines.engine(key)
                if model in engine.adapters:
                    engine.unload_adapter(model)
            db.commit()

    def _retire(self, db: Session, deployment: DeploymentRow, reason: str) -> None:
        """Soft-delete: the replica goes, its add-ons are unloaded, the row stays until its purge time."""
        replica = self._board.replica(deployment.name)
        self._note(db, deployment, replica)
        self._release(deployment.name, replica)
        replica.desired = 0
        note_wish(db, deployment.name, replica)
        times = {"deleteTime": to_rfc3339(now()), "purgeTime": to_rfc3339(now() + PURGE_AFTER)}
        update_body(db, deployment, times | {"status": {"code": "OK", "message": reason}}, DeploymentState.DELETED)
        for deployed in _deployed_on(db, deployment):
            delete(db, deployed)

    def _purge(self, db: Session, deployment: DeploymentRow) -> None:
        if wish := db.get(ReplicaWish, deployment.name):
            db.delete(wish)
        delete(db, deployment)
        self._board.forget(deployment.name)

    def _look_after(self, db: Session, deployment: DeploymentRow) -> None:
        if deployment.state == DeploymentState.DELETED:
            self._purge(db, deployment)
            return
        replica = self._board.replica(deployment.name)
        load = load_of(deployment, replica)
        if reason := end_of_life(load, now()):
            texts = {"expired": "Its expire time has come.", "idle": "It had no traffic for 7 days."}
            self._retire(db, deployment, texts[reason])
            return
        desired = wanted_replicas(load, now())
        if desired != replica.desired:
            _log.info("%s scales to %d", deployment.name, desired)
            replica.desired, replica.problem = desired, ""
            note_wish(db, deployment.name, replica)
        if desired:
            self._bring_up(db, deployment, replica)
        else:
            self._bring_down(db, deployment, replica)

    def _bring_down(self, db: Session, deployment: DeploymentRow, replica: Replica) -> None:
        if deployment.name in self._held:
            self._note(db, deployment, replica)
            self._release(deployment.name, replica)
        if deployment.state == DeploymentState.CREATING:
            note_wish(db, deployment.name, replica)
            update_body(db, deployment, {}, DeploymentState.READY)

    def _bring_up(self, db: Session, deployment: DeploymentRow, replica: Replica) -> None:
        try:
            key = self._held.get(deployment.name) or engine_key(self._platform, deployment)
            status = self._engines.status(key)
            if replica.problem:
                return
            if deployment.name not in self._held or status.state == "absent":
                self._held[deployment.name] = key
                status = self._engines.ensure(key, deployment.name)
        except PilotlightError as error:
            self._fail(db, deployment, replica, str(error))
            return
        if status.state == "failed":
            self._fail(db, deployment, replica, status.message)
        elif status.state == "ready":
            self._load_addons(db, deployment, self._engines.engine(key))
            if not replica.ready or time.time() - replica.noted > HEARTBEAT:
                replica.ready = True
                self._note(db, deployment, replica)
            if deployment.state != DeploymentState.READY:
                update_body(db, deployment, {"status": {"code": "OK", "message": ""}}, DeploymentState.READY)

    def _load_addons(self, db: Session, deployment: DeploymentRow, engine: InferenceEngine) -> None:
        for deployed in _deployed_on(db, deployment):
            model = deployed.body["model"]
            if model == deployment.body["baseModel"]:
                status = None
            elif deployed.body["status"]["code"] != "OK":
                continue
            else:
                status = self._load_addon(engine, model)
            if status:
                update_body(db, deployed, {"status": {"code": "FAILED_PRECONDITION", "message": status}})
            elif deployed.state != DeployedState.DEPLOYED:
                update_body(db, deployed, {}, DeployedState.DEPLOYED)

    def _load_addon(self, engine: InferenceEngine, model: str) -> str:
        if model in engine.adapters:
            return ""
        try:
            engine.load_adapter(model, self._platform.model_directory(model))
        except PilotlightError as error:
            _log.warning("%s did not load: %s", model, error)
            return str(error)
        return ""

    def _fail(self, db: Session, deployment: DeploymentRow, replica: Replica, message: str) -> None:
        """Wait for the next request, scale or update before trying again: loading in a loop helps nobody."""
        _log.error("%s failed to come up: %s", deployment.name, message)
        self._release(deployment.name, replica)
        replica.problem = message or "The engine did not load."
        status = {"code": "INTERNAL", "message": replica.problem}
        update_body(db, deployment, {"status": status}, DeploymentState.FAILED)

    def _release(self, name: str, replica: Replica) -> None:
        replica.ready, replica.time_id = False, None
        if key := self._held.pop(name, None):
            self._engines.release(key, name)

    def _note(self, db: Session, deployment: DeploymentRow, replica: Replica) -> None:
        replica.noted = time.time()
        note_wish(db, deployment.name, replica)
        if replica.ready:
            note_service(db, deployment.account, deployment.name, accelerator(), replica)


def _deployed_on(db: Session, deployment: DeploymentRow) -> list[DeployedModelRow]:
    rows = select_rows(db, DeployedModelRow, deployment.account)
    return [row for row in rows if row.body["deployment"] == deployment.name]


def _needs_a_look(deployment: DeploymentRow) -> bool:
    return deployment.state != DeploymentState.DELETED or now() >= parse_rfc3339(deployment.body["purgeTime"])
