"""A job as it is shown: stored fields, and while it lives what its trainer reports right now."""

import json
from functools import cache
from typing import Any

from fastapi import Request

from local_platform.context import Platform
from local_platform.jobs.kinds import PREFERENCE, kind_of
from local_platform.jobs.loss import TrainingFields
from local_platform.jobs.progress import Progress, base_eval_loss, read_progress
from local_platform.jobs.runs import JobRun, cost_of, work_directory
from local_platform.jobs.state import TERMINAL, JobState
from local_platform.resources import wire
from local_platform.storage.signed import sign_download
from local_platform.tables import JobRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import FailedPrecondition
from pilotlight.pricebook import PriceBook, load_prices

FILES = {
    "metricsFileSignedUrl": "metrics.jsonl",
    "trainerLogsSignedUrl": "trainer.log",
    "renderSamplesSignedUrl": "render_samples.jsonl",
}
_TRAINING_CONFIG = [field.alias or name for name, field in TrainingFields.model_fields.items()]
"""Field of the resource, file of the trainer. Render samples [P44] are a local extension of the resource."""


def show_job(platform: Platform, job: JobRow, run: JobRun, request: Request) -> dict[str, Any]:
    """The wire form: with progress, cost so far, and signed URLs of the files that exist."""
    live = {} if JobState(job.state) in TERMINAL else live_fields(platform, job, run)
    return _nest(job, wire(job) | live) | _signed_urls(platform, job, request)


def show_heldout(platform: Platform, job: JobRow, read_mask: str) -> dict[str, Any]:
    """`localHeldoutLosses`, the trainer's losses by held-out row, for a caller who asks for them by name."""
    path = work_directory(platform.home, job) / "heldout_losses.json"
    if "localHeldoutLosses" not in read_mask.split(",") or not path.exists():
        return {}
    return {"localHeldoutLosses": json.loads(path.read_text())}


def metrics_url(platform: Platform, job: JobRow, request: Request) -> str:
    """A signed URL of the metrics file. Raises FailedPrecondition before there is one."""
    field = "metricsFileSignedUrl"
    url = _signed_urls(platform, job, request).get(field)
    if url is None:
        raise FailedPrecondition(f"{job.name} has no metrics yet.", hint="Ask again when it trains.")
    return url


def live_fields(platform: Platform, job: JobRow, run: JobRun) -> dict[str, Any]:
    """Progress and cost as of now. Empty parts are left out: nothing is known before the trainer's first report."""
    folder = work_directory(platform.home, job)
    progress, base = read_progress(folder), base_eval_loss(folder)
    seconds = run.seconds()
    cost = cost_of(seconds, local_prices().machine_hour)
    report = progress.to_wire() if progress else {}
    return {
        **({"jobProgress": _job_progress(progress)} if progress else {}),
        **({"estimatedCost": cost} if cost else {}),
        "localProgress": report
        | {"runningSeconds": round(seconds, 3)}
        | ({} if base is None else {"baseEvalLoss": base}),
    }


def closing_fields(platform: Platform, job: JobRow, run: JobRun) -> dict[str, Any]:
    """What stays in the resource when the job comes to rest."""
    return live_fields(platform, job, run) | {"completedTime": to_rfc3339(now())}


@cache
def local_prices() -> PriceBook:
    """The price book of this platform, read once."""
    return load_prices("local")


def _nest(job: JobRow, shown: dict[str, Any]) -> dict[str, Any]:
    """Preference jobs show under `trainingConfig` what supervised jobs have at the top."""
    if kind_of(job.name) is not PREFERENCE:
        return shown
    inner = {field: shown[field] for field in _TRAINING_CONFIG if field in shown}
    return {field: value for field, value in shown.items() if field not in inner} | {"trainingConfig": inner}


def _job_progress(progress: Progress) -> dict[str, Any]:
    return {"percent": int(progress.percent), "epoch": int(progress.epoch), "inputTokens": progress.tokens}


def _signed_urls(platform: Platform, job: JobRow, request: Request) -> dict[str, str]:
    folder = work_directory(platform.home, job)
    return {
        field: sign_download(platform, request, folder / file, f"{job.id}-{file}")
        for field, file in FILES.items()
        if (folder / file).is_file()
    }
