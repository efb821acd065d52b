"""The feed on a terminal: the same lines, with one progress bar per running job below them."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cli.event_text import format_event


def print_live(events: Iterable[dict[str, Any]]) -> None:
    """Print events as they come; job events move bars and are printed only when their state changes."""
    console = Console(highlight=False, markup=False, emoji=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TextColumn("{task.fields[loss]}"), TimeRemainingColumn(), console=console) as progress:
        bars = _Bars(progress)
        for event in events:
            if event["type"] == "job" and not bars.move(event["payload"]):
                continue
            if text := format_event(event):
                console.print(text, soft_wrap=True)


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._states: dict[str, str] = {}

    def move(self, payload: dict[str, Any]) -> bool:
        """Move the job's bar; True when its state changed, so that it deserves a line."""
        job, state = str(payload.get("job")), str(payload.get("state"))
        if job not in self._tasks:
            label = str(payload.get("candidate") or job.rsplit("/", 1)[-1])
            self._tasks[job] = self._progress.add_task(label, total=100, loss="")
        loss = payload.get("evalLoss") or payload.get("loss")
        text = f"loss {loss:.3f}" if isinstance(loss, int | float) else ""
        done = state.removeprefix("JOB_STATE_") in ("COMPLETED", "FAILED", "CANCELLED", "EARLY_STOPPED")
        self._progress.update(self._tasks[job], completed=100 if done else payload.get("percent") or 0, loss=text)
        self._progress.update(self._tasks[job], visible=not done)
        changed = self._states.get(job) != state
        self._states[job] = state
        return changed
