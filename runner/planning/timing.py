"""How long things take, from the calibrated throughput of the platform. Seconds; None where nothing is known."""

import math

from runner.planning.catalogue import Throughput

SCALE_TO_ZERO_SECONDS = 300
"""The shortest idle window that the platform allows [P75]; it is paid for once after the last request."""
_EVALUATION_BATCH_OVERHEAD = 1.2
_REQUEST_SECONDS = 0.01


def job_seconds(
    speed: Throughput | None, train_tokens: int, epochs: float, heldout_tokens: int, jobs_at_once: int = 1
) -> float | None:
    """One training job: start, `epochs` passes, and an evaluation before the first and after each epoch."""
    if speed is None:
        return None
    passes = math.ceil(epochs) + 1
    training = train_tokens * epochs / speed.train_tokens_per_second
    return speed.startup_seconds + training + passes * heldout_tokens / speed.eval_tokens_per_second


def pair_job_seconds(
    speed: Throughput | None, train_tokens: int, epochs: float, heldout_tokens: int, reference: bool
) -> float | None:
    """One training job on pairs, whose tokens are those of both conversations.

    With a `reference` (DPO) all pairs are read once before training. Until the platform has measured training on pairs
    its speed is taken for that of other training, which it exceeds: pairs share their prompts.
    """
    if speed is None:
        return None
    training = train_tokens * epochs / (speed.preference_tokens_per_second or speed.train_tokens_per_second)
    read = (math.ceil(epochs) + 1) * heldout_tokens + (train_tokens + heldout_tokens if reference else 0)
    return speed.startup_seconds + training + read / speed.eval_tokens_per_second


def wall_seconds(jobs: list[float], at_once: int) -> float:
    """The makespan of jobs started in order, each on the first free place."""
    places = [0.0] * max(1, min(at_once, len(jobs) or 1))
    for seconds in jobs:
        places[places.index(min(places))] += seconds
    return max(places)


def asking_seconds(
    speed: Throughput | None, prompts: int, answer_tokens: int, prompt_tokens: int, longest: int
) -> float | None:
    """Generating `prompts` answers twice on a deployment that starts cold.

    The tuned model is expected to answer like the data; the base model to ramble on to the `longest` answer allowed.
    """
    return inference_seconds(speed, prompts * (answer_tokens + longest), 2 * prompts * prompt_tokens)


def inference_seconds(speed: Throughput | None, written: float, read: float, requests: int = 0) -> float | None:
    """Writing and reading so many tokens on a deployment that starts cold, and the overhead of so many requests."""
    if speed is None:
        return None
    tokens = written / speed.generate_tokens_per_second + read / speed.eval_tokens_per_second
    return speed.startup_seconds + _EVALUATION_BATCH_OVERHEAD * tokens + requests * _REQUEST_SECONDS


def hours_for(seconds: float | None) -> float:
    """Enough for three times the expected time and two idle windows, in quarters of an hour."""
    return math.ceil((3 * (seconds or 0.0) + 2 * SCALE_TO_ZERO_SECONDS) / 900) / 4
