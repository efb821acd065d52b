"""How fast a run is, and how long the rest of it takes."""

import time


class Stopwatch:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def read(self) -> tuple[float, float]:
        """(wall, processor): they differ where others use the machine too."""
        return time.monotonic() - self._wall, time.process_time() - self._cpu


class Clock:
    """Time to the end, from the speed so far in this process."""

    def __init__(self) -> None:
        self._seconds, self._cpu, self._tokens = 0.0, 0.0, 0
        self._evaluation_seconds, self._evaluation_cpu, self._evaluations = 0.0, 0.0, 0
        self._reference_seconds, self._reference_cpu, self._reference_tokens = 0.0, 0.0, 0

    def trained(self, tokens: int, watch: Stopwatch) -> None:
        """Note a step."""
        seconds, cpu = watch.read()
        self._tokens, self._seconds, self._cpu = self._tokens + tokens, self._seconds + seconds, self._cpu + cpu

    def evaluated(self, watch: Stopwatch) -> None:
        """Note an evaluation."""
        seconds, cpu = watch.read()
        self._evaluations += 1
        self._evaluation_seconds, self._evaluation_cpu = self._evaluation_seconds + seconds, self._evaluation_cpu + cpu

    def referenced(self, tokens: int, watch: Stopwatch) -> None:
        """Note the reading of tokens by a reference model."""
        seconds, cpu = watch.read()
        self._reference_tokens += tokens
        self._reference_seconds, self._reference_cpu = self._reference_seconds + seconds, self._reference_cpu + cpu

    def speed(self, evaluation_tokens: int) -> dict[str, float]:
        """Tokens and seconds of training and of evaluation; one evaluation reads `evaluation_tokens`."""
        reference: dict[str, float] = {
            "referenceTokens": self._reference_tokens,
            "referenceSeconds": round(self._reference_seconds, 3),
            "referenceCpuSeconds": round(self._reference_cpu, 3),
        }
        return {
            "trainTokens": self._tokens,
            "trainSeconds": round(self._seconds, 3),
            "trainCpuSeconds": round(self._cpu, 3),
            "evalTokens": self._evaluations * evaluation_tokens,
            "evalSeconds": round(self._evaluation_seconds, 3),
            "evalCpuSeconds": round(self._evaluation_cpu, 3),
            **(reference if self._reference_tokens else {}),
        }

    def remaining(self, tokens: int, evaluations: int) -> float | None:
        """Seconds for that many tokens and evaluations; None before the first step."""
        if not self._tokens:
            return None
        each = self._evaluation_seconds / self._evaluations if self._evaluations else 0.0
        return tokens * self._seconds / self._tokens + evaluations * each
