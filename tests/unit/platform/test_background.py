"""The thread behind jobs, replicas, builds and evaluations."""

import time

from local_platform.background import Background


def test_a_defect_does_not_end_it() -> None:
    tries: list[float] = []

    def step() -> bool:
        tries.append(time.monotonic())
        if len(tries) == 1:
            raise TypeError("a defect")
        return False

    background = Background("test", step, pause=60)
    background.start()
    while len(tries) < 2:
        background.wake()
        time.sleep(0.01)
    background.stop()


def test_what_is_queued_is_done_without_a_pause_and_then_it_rests() -> None:
    queued, looks = [1, 2, 3], 0

    def step() -> bool:
        nonlocal looks
        looks += 1
        return bool(queued and queued.pop())

    background = Background("test", step, pause=60)
    background.start()
    while looks < 4:
        time.sleep(0.01)
    time.sleep(0.1)
    background.stop()
    assert (queued, looks) == ([], 4)
