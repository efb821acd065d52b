"""Engines by key: loaded in background threads, shared by the deployments that hold them, stopped with the last."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from local_platform.serving.interface import InferenceEngine
from local_platform.serving.targets import EngineKey
from pilotlight.errors import PilotlightError, Unavailable

State = Literal["absent", "loading", "ready", "failed"]
EngineFactory = Callable[[EngineKey], InferenceEngine]

_log = logging.getLogger(__name__)


class EngineStatus(NamedTuple):
    """`message` says why a load failed."""

    state: State
    message: str = ""


@dataclass
class _Slot:
    holders: set[str] = field(default_factory=set[str])
    status: EngineStatus = field(default_factory=lambda: EngineStatus("loading"))
    engine: InferenceEngine | None = None


def load_local_engine(key: EngineKey) -> InferenceEngine:
    """The built-in engine. torch is imported here, seconds after the platform has begun to answer."""
    from local_platform.serving.engine import LocalEngine

    return LocalEngine(key.base_directory, merged_adapter=key.merged_adapter)


class EngineManager:
    """Safe from any thread. A holder is any name, normally a deployment's."""

    def __init__(self, factory: EngineFactory = load_local_engine) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._slots: dict[EngineKey, _Slot] = {}
        self._loaders: list[threading.Thread] = []

    def ensure(self, key: EngineKey, holder: str) -> EngineStatus:
        """Hold the engine for `holder`; loading starts unless it is there. Returns at once. A failed one is retried."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or slot.status.state == "failed":
                slot = self._slots[key] = _Slot(slot.holders if slot else set())
                loader = threading.Thread(target=self._load, args=(key, slot), name="engine-loader", daemon=True)
                self._loaders = [*(thread for thread in self._loaders if thread.is_alive()), loader]
                loader.start()
            slot.holders.add(holder)
            return slot.status

    def status(self, key: EngineKey) -> EngineStatus:
        """Where the engine stands now."""
        with self._lock:
            slot = self._slots.get(key)
            return slot.status if slot else EngineStatus("absent")

    def engine(self, key: EngineKey) -> InferenceEngine:
        """The loaded engine. Raises Unavailable."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is None or slot.engine is None:
                raise Unavailable("The engine of this deployment is not loaded.")
            return slot.engine

    def loaded(self) -> list[EngineKey]:
        """Keys of the engines that can answer."""
        with self._lock:
            return [key for key, slot in self._slots.items() if slot.engine is not None]

    def release(self, key: EngineKey, holder: str) -> None:
        """Let go; the last holder's release stops the engine and frees its memory. Idempotent."""
        with self._lock:
            slot = self._slots.get(key)
            if slot is None:
                return
            slot.holders.discard(holder)
            if slot.holders:
                return
            del self._slots[key]
        if slot.engine is not None:
            slot.engine.close()

    def close(self) -> None:
        """Stop all engines; waits for loads that are under way."""
        with self._lock:
            slots, loaders = list(self._slots.values()), self._loaders
            self._slots.clear()
        for loader in loaders:
            loader.join()
        for slot in slots:
            if slot.engine is not None:
                slot.engine.close()

    def _load(self, key: EngineKey, slot: _Slot) -> None:
        engine: InferenceEngine | None = None
        try:
            engine = self._factory(key)
            status = EngineStatus("ready")
        except (PilotlightError, OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            _log.exception("Loading %s failed.", key.base_directory)
            status = EngineStatus("failed", " ".join(str(error).split())[:500])
        with self._lock:
            slot.status, slot.engine = status, engine
            current = self._slots.get(key) is slot
        if engine is not None and not current:
            engine.close()  # released while it loaded
