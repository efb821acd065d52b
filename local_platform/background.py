"""A thread that does one step again and again, for as long as the platform runs."""

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Background:
    """Runs `step` again at once while it returns True, else after `pause` seconds or when it is woken.

    A step that fails by a defect is logged and tried again after the pause: a thread that ends would leave a platform
    that answers and does nothing.
    """

    def __init__(
        self, name: str, step: Callable[[], bool | None], pause: float, wake: threading.Event | None = None
    ) -> None:
        self._name, self._step, self._pause = name, step, pause
        self._wake, self._stopping = wake or threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def stop(self, timeout: float | None = None) -> None:
        """End after the present step; wait for that, at most `timeout` seconds."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._work()
            self._wake.wait(self._pause)
            self._wake.clear()

    def _work(self) -> None:
        try:
            while not self._stopping.is_set() and self._step():
                pass
        except Exception:  # noqa: BLE001 - whatever it is, the thread has to go on
            _log.exception("a step of %s failed; it is tried again", self._name)
