"""The replica of each deployment: wanted or not, ready or not, when it was last asked for, and the time it served.

One machine runs at most one replica per deployment. What must survive a restart is in two tables; readiness is what
the engines in this process say.
"""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlmodel import Field, Session, SQLModel, col, select

from local_platform.deployments.usage import Interval

HEARTBEAT = 5.0
"""Seconds between two writes of a running replica's end: the most that a crash can leave unbilled."""


class ReplicaWish(SQLModel, table=True):
    """What a deployment wants, kept over restarts. Times are seconds since the epoch."""

    __tablename__ = "platform_replica_wish"  # pyright: ignore[reportAssignmentType]

    deployment: str = Field(primary_key=True)
    desired: int
    last_request: float


class ReplicaTime(SQLModel, table=True):
    """One stretch of time during which a replica was ready; kept when the deployment is gone, for billing."""

    __tablename__ = "platform_replica_time"  # pyright: ignore[reportAssignmentType]

    id: int | None = Field(default=None, primary_key=True)
    account: str = Field(index=True)
    deployment: str
    accelerator_type: str
    started: float
    ended: float = Field(index=True)


@dataclass
class Replica:
    """The state of one deployment's replica in this process."""

    desired: int
    last_request: float = field(default_factory=time.time)
    ready: bool = False
    problem: str = ""
    """Why the engine could not be loaded; empty while all is well."""
    time_id: int | None = None
    """Row of ReplicaTime that is open now."""
    noted: float = 0.0
    """When this state was last written down."""


class ReplicaBoard:
    """Replicas by deployment name. Safe from any thread; requests touch it, the autoscaler acts on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._replicas: dict[str, Replica] = {}
        self.changed = threading.Event()

    def load(self, db: Session) -> None:
        """Take over what an earlier process wanted."""
        for wish in db.exec(select(ReplicaWish)):
            self._replicas[wish.deployment] = Replica(wish.desired, wish.last_request)

    def replica(self, deployment: str) -> Replica:
        """The replica of a deployment, wanted or not."""
        with self._lock:
            return self._replicas.setdefault(deployment, Replica(0))

    def ask(self, deployment: str, desired: int = 1) -> Replica:
        """Note a request: it counts as traffic, and sets how many replicas are wanted."""
        replica = self.replica(deployment)
        with self._lock:
            replica.last_request = time.time()
            if replica.desired != desired or (desired and not replica.ready):
                replica.desired, replica.problem = desired, ""
                self.changed.set()
        return replica

    def forget(self, deployment: str) -> None:
        """Drop a deleted deployment."""
        with self._lock:
            self._replicas.pop(deployment, None)


def keep_wish(db: Session, deployment: str, desired: int) -> None:
    """Write down what a request wants in the transaction of the request: a platform that is killed before its
    autoscaler looked brings it up as well. The caller commits, and tells the board."""
    note_wish(db, deployment, Replica(desired))


def note_wish(db: Session, deployment: str, replica: Replica) -> None:
    """Write down what is wanted. The caller commits."""
    wish = db.get(ReplicaWish, deployment) or ReplicaWish(deployment=deployment, desired=0, last_request=0)
    wish.desired, wish.last_request = replica.desired, replica.last_request
    db.add(wish)


def note_service(db: Session, account: str, deployment: str, accelerator_type: str, replica: Replica) -> None:
    """Open or prolong the stretch of a ready replica up to now. The caller commits."""
    moment = time.time()
    open_ = db.get(ReplicaTime, replica.time_id) if replica.time_id else None
    if open_ is None:
        open_ = ReplicaTime(
            account=account, deployment=deployment, accelerator_type=accelerator_type, started=moment, ended=moment
        )
    open_.ended = moment
    db.add(open_)
    db.flush()
    replica.time_id = open_.id


def service_intervals(db: Session, account: str, start: datetime, end: datetime) -> list[Interval]:
    """Stretches of an account that touch [start, end)."""
    query = select(ReplicaTime).where(
        ReplicaTime.account == account,
        col(ReplicaTime.ended) > start.timestamp(),
        col(ReplicaTime.started) < end.timestamp(),
    )
    return [
        Interval(row.deployment, row.accelerator_type, _utc(row.started), _utc(row.ended)) for row in db.exec(query)
    ]


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
