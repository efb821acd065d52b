"""SIGTERM: at once before training begins, at the next safe point while it runs."""

import signal
from types import FrameType

EXIT_STATUS = 143
"""128 + SIGTERM, as a shell reports it."""


class Stopped(Exception):
    """Raised at a safe point of the training loop after SIGTERM."""


class StopSignal:
    """Owns the process's SIGTERM handler. Use one per process, from the main thread."""

    def __init__(self) -> None:
        self._requested = False
        self._deferred = False
        signal.signal(signal.SIGTERM, self._on_signal)

    def defer(self) -> None:
        """From now on only `check` stops the process: there is state to save."""
        self._deferred = True
        self.check()

    def check(self) -> None:
        """Raise Stopped if SIGTERM came."""
        if self._requested:
            raise Stopped

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        if not self._deferred:
            raise SystemExit(EXIT_STATUS)
