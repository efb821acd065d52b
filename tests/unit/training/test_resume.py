"""A run that stops at a chosen step and goes on in new objects decides as one that never stopped."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from local_platform.training.checkpoint import Position, load_checkpoint, save_checkpoint
from local_platform.training.clock import Clock
from local_platform.training.data import load_tokenizer
from local_platform.training.forward import build_network
from local_platform.training.loop import Loop, Outputs
from local_platform.training.model import add_adapter, choose_device, load_base, prepare_process, vocabulary_size
from local_platform.training.packing import Budget, Plan
from local_platform.training.progress import Metrics, Progress
from local_platform.training.signals import Stopped, StopSignal
from local_platform.training.spec import JobSpec
from local_platform.training.task import read_task
from pilotlight.errors import FailedPrecondition
from tests.fixtures.training import SpecMaker, colours, preferences


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


class StopAt(StopSignal):
    """Asks to stop before the step that comes after `step` finished ones."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.loop: Loop | None = None
        self._step = step

    def check(self) -> None:
        if self.loop is not None and self.loop.position.step == self._step:
            raise Stopped


def run_loop(spec: JobSpec, stop: StopSignal) -> Position:
    """The job's loop, from its checkpoint if there is one. Returns its last position."""
    device, progress = choose_device(spec), Progress(spec.work_directory / "progress.json")
    prepare_process(spec, device)
    base = load_base(spec, device)
    budget = Budget(0, spec.batch_size_samples)
    load_task = read_task(spec, load_tokenizer(spec), vocabulary_size(base), progress, budget)
    network = build_network(add_adapter(base, spec), device)
    task = load_task(network, Clock())
    assert task.evaluator is not None
    plan = Plan(task.objective.lengths, budget, 1, spec.epochs, spec.seed)
    loop = Loop(spec, network, task.objective, plan, task.evaluator)
    if checkpoint := load_checkpoint(spec.work_directory, spec.digest()):
        loop.restore(checkpoint)
    if isinstance(stop, StopAt):
        stop.loop = loop
    metrics = Metrics(spec.work_directory / "metrics.jsonl", loop.position.metrics_bytes)
    try:
        loop.run(Outputs(progress, metrics, lambda c: save_checkpoint(spec.work_directory, spec.digest(), c)), stop)
    except Stopped:
        assert loop.position.step > 0
    finally:
        metrics.close()
    return loop.position


FIELDS: dict[str, Any] = {
    "rows": colours(36), "epochs": 3, "batch_size_samples": 4, "eval_auto_carveout": True, "eval_interval_steps": 3,
    "early_stop": True,
}  # fmt: skip
PAIRS: dict[str, Any] = FIELDS | {"rows": preferences(36), "method": "DPO"}


@pytest.mark.parametrize(("fields", "step"), [(FIELDS, 1), (FIELDS, 8), (FIELDS, 12), (FIELDS, 20), (PAIRS, 8)])
def test_every_counter_and_record_is_that_of_the_uninterrupted_run(
    make_spec: SpecMaker, fields: dict[str, Any], step: int
) -> None:
    """Early stop compares with the record before the epoch: a stop within the epoch must not move it."""
    whole = run_loop(make_spec("whole", **fields), StopSignal())
    broken = make_spec("broken", **fields)
    assert run_loop(broken, StopAt(step)).step == step
    resumed = run_loop(broken, StopSignal())
    assert resumed.record_before != resumed.record, "the case must be real"
    assert {**vars(resumed), "metrics_bytes": 0} == {**vars(whole), "metrics_bytes": 0}


def test_a_checkpoint_of_another_spec_is_refused(make_spec: SpecMaker) -> None:
    spec = make_spec(**FIELDS)
    run_loop(spec, StopAt(2))
    with pytest.raises(FailedPrecondition, match="other settings"):
        run_loop(spec.model_copy(update={"learning_rate": 0.5}), StopSignal())


def test_more_threads_may_go_on_from_a_checkpoint(make_spec: SpecMaker) -> None:
    spec = make_spec(**FIELDS)
    run_loop(spec, StopAt(2))
    assert run_loop(spec.model_copy(update={"threads": 2}), StopSignal()).step == 24
