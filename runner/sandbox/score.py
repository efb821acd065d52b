"""`python -m runner.sandbox.score`: score answers with an evaluator, for processes that start it as a program.

Standard input is a Scoring as JSON. Standard output is JSON too: Scores, or `error`, a message for the user.
"""

import asyncio
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pilotlight.errors import PilotlightError
from runner.sandbox.evaluator import EvaluatorCall, run_evaluator
from runner.sandbox.harness import as_source
from runner.sandbox.spec import EvaluatorLimits, session_uid

ROWS_PER_CALL = 200
"""The result of a call is bounded, and so is its time."""
ROW_SECONDS = 5.0
_SHOWN = 300


class Scoring(BaseModel):
    """An evaluator's files by path, its entry point, the packages it was installed with, and the rows to score.

    A row has what a model wrote as `completion`. `uid_base` is the first user ID to drop to where this process is root.
    """

    model_config = ConfigDict(extra="forbid")

    files: dict[str, str]
    entry: str
    rows: list[dict[str, Any]]
    packages: Path | None = None
    limits: EvaluatorLimits = EvaluatorLimits()
    uid_base: int = 0


class Scores(BaseModel):
    """One for each row: `score`, perhaps `reason`, or `error` where it is 0.0; and what the evaluator printed."""

    scores: list[dict[str, Any]]
    log: str


async def score(scoring: Scoring, uid: int | None) -> Scores:
    """Run the evaluator over all rows, in as many sandboxes as that takes.

    Raises what `run_evaluator` raises, and ValueError when what it returns is not one result for each row.
    """
    scores: list[dict[str, Any]] = []
    logs: list[str] = []
    source = as_source(scoring.files, scoring.entry)
    for start in range(0, len(scoring.rows), ROWS_PER_CALL):
        rows: list[Any] = [[row, row["completion"]] for row in scoring.rows[start : start + ROWS_PER_CALL]]
        call = EvaluatorCall(source=source, input=rows, row_seconds=ROW_SECONDS)
        done = await run_evaluator(call, scoring.limits, uid, scoring.packages)
        if not isinstance(done.value, list) or len(done.value) != len(rows):
            raise ValueError(f"The evaluator's result is not a list of {len(rows)} scores.")
        scores += [read_score(result) for result in done.value]
        logs.append(done.log)
    return Scores(scores=scores, log="".join(logs))


def read_score(result: Any) -> dict[str, Any]:
    """One result of the sandbox as a score; what is none counts as 0.0, with the reason as its `error`."""
    found: dict[str, Any] = result if isinstance(result, dict) else {}
    value: Any = found.get("value")
    number: Any = value.get("score") if isinstance(value, dict) else value
    if error := str(found.get("error") or ""):
        return {"score": 0.0, "error": error[:_SHOWN]}
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        return {"score": 0.0, "error": "it returned something else than a number"}
    if not 0.0 <= number <= 1.0:
        return {"score": 0.0, "error": f"it returned {number:g}, which is not between 0 and 1"}
    reason = str(value.get("reason") or "")[:_SHOWN] if isinstance(value, dict) else ""
    return {"score": float(number), **({"reason": reason} if reason else {})}


def main() -> None:
    """Read, score, write. Exit 0 also when the evaluator failed: that is an answer."""
    scoring = Scoring.model_validate_json(sys.stdin.buffer.read())
    uid = session_uid("evaluation", scoring.uid_base) if os.getuid() == 0 else None
    try:
        answer = asyncio.run(score(scoring, uid)).model_dump()
    except (PilotlightError, ValueError) as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
