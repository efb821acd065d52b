"""What works in the background of one platform process: trainers, replicas, calibration. One `Workers` per app."""

import os
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from local_platform.background import Background
from local_platform.context import Platform
from local_platform.deployments.addressing import Resolver
from local_platform.deployments.autoscaler import Autoscaler
from local_platform.deployments.replicas import ReplicaBoard
from local_platform.evaluations.worker import Evaluations, open_builder
from local_platform.jobs.launcher import Launcher, LocalLauncher
from local_platform.jobs.scheduler import Scheduler
from local_platform.serving.manager import EngineFactory, EngineManager, load_local_engine
from local_platform.speed.calibration import Calibrator
from local_platform.speed.throughput import ThroughputBook
from local_platform.tables import DeploymentRow
from pilotlight.errors import PilotlightError

MAX_THREADS = 8
"""Per trainer: small models do not get faster with more."""
STOP_GRACE = 5.0
"""Seconds for a build or an evaluation to end by itself; what does not is done again at the next start."""


@dataclass
class Workers:
    """The background workers and what routes reach them by."""

    engines: EngineManager
    board: ReplicaBoard
    autoscaler: Autoscaler
    scheduler: Scheduler
    calibrator: Calibrator
    resolver: Resolver
    builder: Background
    evaluations: Evaluations

    def start(self) -> None:
        """Take up what an earlier process left, and begin."""
        self.autoscaler.start()
        self.scheduler.start()
        self.builder.start()
        self.evaluations.start()

    def stop(self) -> None:
        """Stop everything; trainers save checkpoints, served time is written down."""
        self.calibrator.stop()
        self.evaluations.stop(STOP_GRACE)
        self.builder.stop(STOP_GRACE)
        self.scheduler.stop()
        self.autoscaler.stop()
        self.engines.close()

    def busy(self, deployment: DeploymentRow) -> bool:
        """Whether the engine behind a deployment answers requests now."""
        try:
            key = self.autoscaler.engine_of(deployment.name)
            return key is not None and self.engines.engine(key).active > 0
        except PilotlightError:
            return False


def open_workers(
    platform: Platform, launcher: Launcher | None = None, engine: EngineFactory = load_local_engine
) -> Workers:
    """Build the workers of a platform; nothing runs before `start`."""
    slots = platform.settings.platform_jobs
    threads = min(MAX_THREADS, max(1, (os.cpu_count() or 1) // slots))
    launcher = launcher or LocalLauncher()
    engines, board = EngineManager(engine), ReplicaBoard()
    book = ThroughputBook(platform.home / "throughput.json", slots, threads)
    return Workers(
        engines=engines,
        board=board,
        autoscaler=Autoscaler(platform, engines, board),
        scheduler=Scheduler(platform, launcher, book, slots, threads),
        calibrator=Calibrator(platform, launcher, book, slots, threads),
        resolver=Resolver(platform, board),
        builder=open_builder(platform),
        evaluations=Evaluations(platform),
    )


def _workers(request: Request) -> Workers:
    return request.app.state.workers


WorkersDep = Annotated[Workers, Depends(_workers)]
