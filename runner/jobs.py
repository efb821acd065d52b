"""Training jobs: start at most so many at a time, follow them with `job` events, and stop after repeated failure."""

import logging
import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, cast

from pilotlight.errors import AlreadyExists, FailedPrecondition, InvalidArgument, PilotlightError, ResourceExhausted
from pilotlight.plan import Stop
from runner import limits
from runner.calls import Call
from runner.planning.requests import job_id, output_model
from runner.turn import Turn

log = logging.getLogger(__name__)

DONE = ("JOB_STATE_COMPLETED", "JOB_STATE_EARLY_STOPPED")
ENDED = (*DONE, "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
FAILURES_IN_A_ROW = 3
STUCK_STEPS = 10.0
"""A running job may take so many times its slowest step so far for the next one, or the setting if that is more."""


class JobStart(NamedTuple):
    """A job to run: the planned call, and how the user knows it (`c1`, `final`)."""

    label: str
    call: Call


class JobResult(NamedTuple):
    """How a job ended. Losses are None where the platform reports none."""

    label: str
    name: str
    state: str
    message: str
    loss: float | None
    eval_loss: float | None
    base_loss: float | None
    tokens: int
    seconds: float | None
    model: str
    stop: dict[str, Any] | None = None
    """A pilotlight.plan.Stop as JSON, where it was an approved limit that ended it, or that kept it from beginning."""
    pruned: dict[str, Any] | None = None
    """Why successive halving stopped it, and what that saved; see runner.halving."""
    epoch_losses: dict[str, float] | None = None
    """Validation loss by finished epochs."""

    @property
    def done(self) -> bool:
        """Whether it produced a model."""
        return self.state in DONE


class Run(NamedTuple):
    """A job under way, or just ended. `left` are the seconds that its trainer expects it to take yet."""

    label: str
    name: str
    running: bool
    losses: dict[str, float]
    left: float | None


class Pruner(Protocol):
    """Stops runs that are not worth going on."""

    def look(self, runs: Sequence[Run]) -> None:
        """Called after every look at all runs."""
        ...

    def pruned(self, label: str) -> dict[str, Any] | None:
        """What was decided about a run, if it was stopped."""
        ...


class TooManyFailures(FailedPrecondition):
    """Several jobs in a row failed, or one is stuck: going on would only cost. `results` are of all that ended."""

    results: tuple[JobResult, ...] = ()


def run_jobs(turn: Turn, starts: Sequence[JobStart], parallel: int, pruner: Pruner | None = None) -> list[JobResult]:
    """Run all jobs to their end, in order, at most `parallel` at a time. Safe to call again after a crash.

    Once one has met its approved limit no further one is begun: those have no result, and what runs runs to its end.
    Raises TooManyFailures after three failures in a row, or when a job makes no progress within its limit; then all
    jobs of the session are stopped, and those that ran have the result of a stopped one.
    """
    followers = list[_Follower]()
    results: dict[str, JobResult] = {}
    try:
        _follow_all(turn, list(starts), followers, results, parallel, pruner)
    except TooManyFailures as error:
        turn.stop_jobs()
        results |= {left.label: left.stopped(error.message) for left in followers}
        error.results = tuple(results.values())
        raise
    return [results[start.label] for start in starts if start.label in results]


def _follow_all(
    turn: Turn,
    waiting: list[JobStart],
    followers: "list[_Follower]",
    results: dict[str, JobResult],
    parallel: int,
    pruner: Pruner | None,
) -> None:
    failed_in_a_row = 0
    while waiting or followers:
        while waiting and len(followers) < parallel:
            begun = _start(turn, waiting.pop(0))
            if isinstance(begun, JobResult):
                results[begun.label] = begun
                waiting.clear()
            else:
                followers.append(begun)
        events: list[tuple[str, dict[str, Any], str]] = []
        runs: list[Run] = []
        for follower in list(followers):
            ended = follower.look(turn, events)
            runs.append(follower.run)
            if ended is not None:
                ended = _judged(ended, pruner)
                followers.remove(follower)
                results[ended.label] = ended
                if ended.stop:
                    waiting.clear()
                elif ended.done or ended.pruned:
                    failed_in_a_row = 0
                else:
                    failed_in_a_row += 1
        turn.emit_all(events)
        if pruner:
            pruner.look(runs)
        if failed_in_a_row >= FAILURES_IN_A_ROW:
            last = [result for result in results.values() if not (result.done or result.pruned)][-1]
            raise TooManyFailures(f"{failed_in_a_row} training jobs in a row failed. The last reason: {last.message}")
        if followers:
            time.sleep(turn.poll_seconds)


def _judged(ended: JobResult, pruner: Pruner | None) -> JobResult:
    """The result of a run that was pruned says so; one that had finished before it could be stopped is as any other."""
    decided = pruner.pruned(ended.label) if pruner and ended.state == "JOB_STATE_CANCELLED" and not ended.stop else None
    return ended._replace(pruned=decided, message=decided["text"]) if decided else ended


def _start(turn: Turn, start: JobStart) -> "_Follower | JobResult":
    name = f"{start.call.path.removeprefix('/v1/')}/{job_id(start.call)}"
    try:
        turn.client.send(start.call, turn.context.session)
    except AlreadyExists:
        # The answer to an earlier create was lost. The job is ours if it is what we would have created.
        check_same(turn.client.get(f"/v1/{name}"), start.call)
    except PilotlightError as error:
        if (limit := limits.refusal_of(error)) is None:
            raise
        return _refused(start, name, limit, error.message)
    return _Follower(start, name)


def _refused(start: JobStart, name: str, limit: Any, message: str) -> JobResult:
    candidate = "" if start.label == "final" else start.label
    stop = Stop(part=_part(start), candidate=candidate, limit=limit).model_dump(mode="json")
    model = output_model(start.call)
    return JobResult(start.label, name, "JOB_STATE_NOT_STARTED", message, None, None, None, 0, None, model, stop)


def _part(start: JobStart) -> Literal["candidate", "final"]:
    return "final" if start.label == "final" else "candidate"


def check_same(found: dict[str, Any], call: Call) -> None:
    """Raise AlreadyExists unless a found resource has the values that `call` would have given it."""
    _check_fields(str(found.get("name")), found, call.body)


def _check_fields(name: str, found: dict[str, Any], body: dict[str, Any]) -> None:
    for field, wanted in body.items():
        if isinstance(wanted, bool) or field not in found:
            continue
        if isinstance(wanted, dict) and isinstance(found[field], dict):
            _check_fields(name, found[field], cast("dict[str, Any]", wanted))
        elif str(found[field]) != str(wanted) and not _same_number(found[field], wanted):
            raise AlreadyExists(f"{name} exists with another {field}: {found[field]!r}, not {wanted!r}.")


def _same_number(left: Any, right: Any) -> bool:
    try:
        return float(left) == float(right)
    except (TypeError, ValueError):
        return False


def progress_limit(setting: float, slowest: float) -> float:
    """Seconds within which a job has to report a new step, when its slowest so far took `slowest`."""
    return max(setting, STUCK_STEPS * slowest)


class _Follower:
    """Watches one job and reports what changed."""

    def __init__(self, start: JobStart, name: str) -> None:
        self._start, self._name = start, name
        self._seen: tuple[str, int, float | None, Any] = ("", -1, None, None)
        self._told: tuple[str, int, float | None] = ("", -1, None)
        self._base_loss: float | None = None
        self._moved = time.monotonic()
        self._slowest = 0.0
        """Seconds of its slowest step so far; it may have begun before we looked."""
        self.run = Run(start.label, name, False, {}, None)
        """As it was at the last look."""

    @property
    def label(self) -> str:
        """How the user knows the job."""
        return self._start.label

    def stopped(self, message: str) -> JobResult:
        """The result of a job that was stopped with others."""
        model = output_model(self._start.call)
        return JobResult(self.label, self._name, "JOB_STATE_CANCELLED", message, None, None, None, 0, None, model)

    def look(self, turn: Turn, events: list[tuple[str, dict[str, Any], str]]) -> JobResult | None:
        job = turn.client.get(f"/v1/{self._name}")
        state = str(job.get("state", "JOB_STATE_UNSPECIFIED"))
        progress: dict[str, Any] = job.get("localProgress") or {}
        step = int(progress.get("step") or 0)
        self._note_base(progress, step)
        losses: dict[str, float] = progress.get("epochLosses") or {}
        self.run = Run(self.label, self._name, state == "JOB_STATE_RUNNING", losses, progress.get("etaSeconds"))
        # Reading a reference model is no step, but the trainer reports that it goes on.
        now = (state, step, progress.get("evalLoss"), progress.get("updatedAt"))
        if now != self._seen:
            if state == "JOB_STATE_RUNNING" == self._seen[0]:
                self._slowest = max(self._slowest, time.monotonic() - self._moved)
            self._seen, self._moved = now, time.monotonic()
        # A person reads this, and a job of days must not fill the log: an event per 5 percent, state and evaluation.
        news = (state, int(progress.get("percent") or 0) // 5, progress.get("evalLoss"))
        ended = limits.find_ended(turn, self._name) if state == "JOB_STATE_CANCELLED" else None
        if news != self._told:
            self._told = news
            key = f"job/{self._name}/{state}/{step}/{progress.get('evalLoss')}"
            reason = {"reason": ended.reason} if ended else {}
            events.append(("job", _event(self._start.label, self._name, state, progress) | reason, key))
        if state in ENDED:
            return self._result(job, state, progress, ended)
        limit = progress_limit(turn.context.no_progress_seconds, self._slowest)
        if state == "JOB_STATE_RUNNING" and time.monotonic() - self._moved > limit:
            raise TooManyFailures(
                f"{self._name} has made no progress for {limit / 60:.3g} minutes, at step {step}, and was stopped."
            )
        return None

    def _note_base(self, progress: dict[str, Any], step: int) -> None:
        given = progress.get("baseEvalLoss")
        if given is not None:
            self._base_loss = float(given)
        elif step == 0 and progress.get("evalLoss") is not None:
            self._base_loss = float(progress["evalLoss"])

    def _result(
        self, job: dict[str, Any], state: str, progress: dict[str, Any], ended: limits.Ended | None
    ) -> JobResult:
        status: dict[str, Any] = job.get("status") or {}
        message = str(status.get("message") or progress.get("message") or "")
        return JobResult(
            label=self._start.label,
            name=self._name,
            state=state,
            message=ended.reason if ended else _why(state, message),
            loss=progress.get("loss"),
            eval_loss=progress.get("evalLoss"),
            base_loss=self._base_loss,
            tokens=int(progress.get("tokens") or 0),
            seconds=progress.get("runningSeconds"),
            model=output_model(self._start.call),
            stop=self._stop(ended, progress) if ended else None,
            epoch_losses=progress.get("epochLosses"),
        )

    def _stop(self, ended: limits.Ended, progress: dict[str, Any]) -> dict[str, Any]:
        return Stop(
            part=_part(self._start),
            candidate="" if self._start.label == "final" else self._start.label,
            resource=self._name,
            limit=ended.limit,
            approved=ended.approved,
            spent=ended.spent,
            percent=float(progress.get("percent") or 0) or None,
        ).model_dump(mode="json")


def _event(label: str, name: str, state: str, progress: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = {"job": name, "candidate": label, "state": state}
    for field in ("step", "totalSteps", "loss", "evalLoss", "tokens", "percent", "etaSeconds"):
        if progress.get(field) is not None:
            event[field] = progress[field]
    return event


def _why(state: str, message: str) -> str:
    return f"{message} It was stopped by hand.".strip() if state == "JOB_STATE_CANCELLED" else message


def failed_parts(ended: Sequence[JobResult]) -> list[Stop]:
    """What of these has to be done again, under new names."""
    left = [result for result in ended if not (result.done or result.pruned)]
    parts = [(result, "final" if result.label == "final" else "candidate") for result in left]
    return [
        Stop.model_validate(
            {
                "part": part,
                "candidate": "" if part == "final" else result.label,
                "resource": result.name,
                "limit": "failed",
            }
        )
        for result, part in parts
        if result.stop is None
    ]


def try_jobs(
    turn: Turn, starts: Sequence[JobStart], parallel: int, pruner: Pruner | None = None
) -> list[JobResult] | PilotlightError:
    """run_jobs(), with the error that the user has to decide on as a value."""
    try:
        return run_jobs(turn, starts, parallel, pruner)
    except (FailedPrecondition, InvalidArgument, ResourceExhausted) as error:
        return error
