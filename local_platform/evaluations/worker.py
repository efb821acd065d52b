"""What does the queued work of evaluators: builds, and evaluation jobs with the program that runs evaluators."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from typing import Any

from local_platform.background import Background
from local_platform.context import Platform
from local_platform.evaluations.run import next_job, run_job
from local_platform.evaluators.build import build_next
from local_platform.jobs.launcher import child_environment
from pilotlight.errors import Internal

SCORER = [sys.executable, "-P", "-m", "runner.sandbox.score"]
_PAUSE = 5.0
"""Seconds between two looks without being woken."""
_log = logging.getLogger(__name__)


def open_builder(platform: Platform) -> Background:
    """Builds evaluators."""
    return Background("evaluator-builds", lambda: build_next(platform), _PAUSE)


class Evaluations(Background):
    """Runs evaluation jobs, and ends the program of one that is not wanted any more."""

    def __init__(self, platform: Platform) -> None:
        super().__init__("evaluation-jobs", self._run_next, _PAUSE)
        self._platform = platform
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._current, self._ended = "", False

    def drop(self, name: str) -> None:
        """End the job if it runs: it was deleted."""
        with self._lock:
            if self._current == name:
                self._kill()

    def stop(self, timeout: float | None = None) -> None:
        """End the running job too; it is done again at the next start."""
        with self._lock:
            self._ended = True
            self._kill()
        super().stop(timeout)

    def _run_next(self) -> bool:
        name = next_job(self._platform)
        if name is None:
            return False
        self._current = name
        try:
            run_job(self._platform, name, self._score)
        except Stopped:
            return False
        finally:
            self._current = ""
        return True

    def _score(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._ended:
                raise Stopped
            pipe = subprocess.PIPE
            child = subprocess.Popen(
                SCORER, stdin=pipe, stdout=pipe, stderr=pipe, env=child_environment(1), start_new_session=True
            )
            self._child = child
        output, complaint = child.communicate(json.dumps(request).encode())
        with self._lock:
            self._child = None
            if self._ended:
                raise Stopped
        if child.returncode != 0:
            _log.error("the scoring program ended with %d: %s", child.returncode, complaint.decode("utf-8", "replace"))
            raise Internal("The program that runs evaluators ended before its answer.", hint="See the platform's log.")
        return json.loads(output)

    def _kill(self) -> None:
        if self._child is not None and self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)


class Stopped(Exception):
    """The platform stops: the job stays as it is, and is done again at the next start."""
