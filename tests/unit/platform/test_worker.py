"""The thread that does what is queued for evaluators."""

import time

from local_platform.evaluations.worker import Worker


def test_a_defect_does_not_end_it() -> None:
    tries: list[float] = []

    def step() -> bool:
        tries.append(time.monotonic())
        if len(tries) == 1:
            raise TypeError("a defect")
        return False

    worker = Worker("test", step)
    worker.start()
    while len(tries) < 2:
        worker.wake()
        time.sleep(0.01)
    worker.stop()
