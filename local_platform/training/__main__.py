"""Entry point: `python -m local_platform.training SPEC.json`. Exit status as in the package's docstring."""

import logging
import os
import sys
from pathlib import Path
from types import TracebackType

from local_platform.training.progress import FINISHED, Progress
from local_platform.training.signals import EXIT_STATUS, Stopped, StopSignal
from local_platform.training.spec import JobSpec, load_spec
from pilotlight.errors import PilotlightError

log = logging.getLogger("local_platform.training")


def main(arguments: list[str]) -> int:
    """Run the job of a spec file in this process."""
    stop = StopSignal()
    path = Path(arguments[0])
    progress = Progress(path.parent / "progress.json")
    try:
        spec = load_spec(path)
        progress = Progress(spec.work_directory / "progress.json")
        prepare_environment(spec, progress)
        if progress.read().get("state") in FINISHED:
            return 0
        progress.write("RUNNING", "Starting.")
        from local_platform.training.job import run_job  # torch must see the environment above

        run_job(spec, progress, stop)
    except PilotlightError as error:
        log.error("%s", error)
        progress.write("FAILED", str(error))
        return 2
    except Stopped:
        progress.write("RUNNING", f"Stopped at step {progress.numbers.step}; the same command goes on from there.")
        return EXIT_STATUS
    return 0


def prepare_environment(spec: JobSpec, progress: Progress) -> None:
    """Crash report, log file, and variables that libraries read once, when they are loaded."""

    def report_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.critical("The trainer failed", exc_info=(kind, error, trace))
        progress.write("FAILED", f"The trainer failed: {kind.__name__}: {error}")

    sys.excepthook = report_crash
    os.environ["OMP_NUM_THREADS"] = str(spec.threads)
    os.environ["OMP_WAIT_POLICY"] = "passive"  # idle threads must not spin: on a busy machine that costs 4 to 10 times
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"
    handlers = [logging.FileHandler(spec.work_directory / "trainer.log"), logging.StreamHandler()]
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s", handlers=handlers, force=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
