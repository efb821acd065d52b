"""Engines come and go with the deployments that hold them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local_platform.basemodels.shipped import shipped
from local_platform.serving.manager import EngineManager, EngineStatus
from local_platform.serving.targets import EngineKey
from local_platform.serving.weights import Weights
from pilotlight.errors import Unavailable


def settle(manager: EngineManager, key: EngineKey) -> EngineStatus:
    deadline = time.monotonic() + 30
    while manager.status(key).state == "loading" and time.monotonic() < deadline:
        time.sleep(0.01)
    return manager.status(key)


def test_two_holders_share_one_engine_until_the_last_lets_go(tiny_checkpoint: Path) -> None:
    manager, key = EngineManager(), EngineKey(tiny_checkpoint)
    assert manager.status(key).state == "absent"
    assert manager.ensure(key, "a").state == "loading"
    with pytest.raises(Unavailable):
        manager.engine(key)
    assert settle(manager, key).state == "ready"
    manager.ensure(key, "b")
    engine = manager.engine(key)
    manager.release(key, "a")
    assert manager.engine(key) is engine
    manager.release(key, "b")
    assert (manager.status(key).state, manager.loaded()) == ("absent", [])
    with pytest.raises(Unavailable):
        engine.load_adapter("x", tiny_checkpoint)
    manager.release(key, "b")


def test_a_broken_checkpoint_fails_with_its_reason_and_can_be_tried_again(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    manager, key = EngineManager(), EngineKey(tmp_path / "model")
    manager.ensure(key, "a")
    status = settle(manager, key)
    assert status.state == "failed"
    assert status.message
    key.base_directory.symlink_to(tiny_checkpoint)
    assert manager.ensure(key, "a").state == "loading"
    assert settle(manager, key).state == "ready"
    manager.close()


def test_engines_that_load_at_the_same_time_all_work(
    tiny_checkpoint: Path, make_tiny_adapter: Callable[[int, int], Path]
) -> None:
    """transformers and PEFT change process-wide state while they load: unguarded, all of these failed."""
    adapters = [None, make_tiny_adapter(11, 4), make_tiny_adapter(12, 8), None]

    checkpoints = [tiny_checkpoint, *(model.directory for model in shipped())]

    def load(place: int) -> None:
        for turn in range(6):
            Weights(checkpoints[(place + turn) % 3], "cpu", adapters[place] if (place + turn) % 3 == 0 else None)

    with ThreadPoolExecutor(4) as pool:
        for result in [pool.submit(load, place) for place in range(4)]:
            result.result()


def test_released_while_loading_does_not_stay(tiny_checkpoint: Path) -> None:
    manager, key = EngineManager(), EngineKey(tiny_checkpoint)
    manager.ensure(key, "a")
    manager.release(key, "a")
    manager.ensure(key, "b")
    assert settle(manager, key).state == "ready"
    assert manager.loaded() == [key]
    manager.close()
    assert manager.loaded() == []
