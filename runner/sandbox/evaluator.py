"""Run code written by a model or brought by the user: `await run_evaluator(call, limits, uid)`.

It runs in a sandbox of its own beside the runner's, gets JSON and returns JSON. What it prints is a log.
"""

import asyncio
import os
import subprocess
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue

from pilotlight.errors import FailedPrecondition, ResourceExhausted
from runner.sandbox.ending import kill_sandbox
from runner.sandbox.evaluate import READY
from runner.sandbox.launch import spawn
from runner.sandbox.pipes import Pipe
from runner.sandbox.result import parse_result, read_bounded, read_head, to_plain
from runner.sandbox.spec import EvaluatorLimits, LaunchSpec, Limits
from runner.sandbox.watchdog import guard_memory


class EvaluatorCall(BaseModel):
    """Python source, and the function of it that is called once with `input`.

    With `row_seconds` it is called once for each argument list in `input`, and what goes wrong in one call (it raises,
    takes longer, returns what is not JSON) is that call's result alone; see runner.sandbox.evaluate.
    """

    model_config = ConfigDict(extra="forbid")

    source: str
    function: str = "evaluate"
    input: JsonValue
    row_seconds: float | None = None


class Evaluation(NamedTuple):
    """What the function returned, and the head of what it printed, without control characters."""

    value: Any
    log: str


class _Outcome(NamedTuple):
    exit_code: int
    channel: bytes
    log: str


async def run_evaluator(
    call: EvaluatorCall, limits: EvaluatorLimits, uid: int | None, packages: Path | None = None
) -> Evaluation:
    """Call the function in a fresh evaluator sandbox. `uid` is the user ID to drop to when this process is root.

    `packages` is a folder of installed packages (`pilotlight.environments`) that it has instead of ours.

    Raises FailedPrecondition when the sandbox cannot start or the code fails, ResourceExhausted when it exceeds its
    time, memory or result size, InvalidArgument when what it returns is not strict JSON. None of it runs on afterwards.
    """
    reader, writer = os.pipe()
    with closing(Pipe(reader)) as channel:
        try:
            process = await spawn(_describe(writer, limits, uid, packages), stdin=subprocess.PIPE, pass_fds=[writer])
        finally:
            os.close(writer)
        guard = asyncio.create_task(guard_memory(process, limits.memory_bytes))
        try:
            async with asyncio.timeout(limits.wall_seconds):
                outcome = await _exchange(process, channel.reader, call, limits)
        except TimeoutError as error:
            raise ResourceExhausted(
                f"The evaluator did not finish within {limits.wall_seconds:g} seconds.",
                hint="Make it faster, or raise PILOTLIGHT_SANDBOX_EVALUATOR_SECONDS.",
            ) from error
        finally:
            await _end(process)
            used = await guard
    _check(outcome, used, limits)
    return Evaluation(parse_result(outcome.channel.removeprefix(READY)), outcome.log)


def _describe(writer: int, limits: EvaluatorLimits, uid: int | None, packages: Path | None) -> LaunchSpec:
    inner = Limits(**{field.name: getattr(limits, field.name) for field in fields(Limits)})
    return LaunchSpec(
        session="evaluator",
        profile="evaluator",
        module="runner.sandbox.evaluate",
        arguments=[str(writer)],
        uid=uid,
        limits=inner,
        packages=packages,
    )


async def _exchange(
    process: asyncio.subprocess.Process, channel: asyncio.StreamReader, call: EvaluatorCall, limits: EvaluatorLimits
) -> _Outcome:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    _, answer, output, complaint = await asyncio.gather(
        _send(process.stdin, call.model_dump_json().encode()),
        read_bounded(channel, len(READY) + limits.result_bytes),
        read_head(process.stdout, limits.log_bytes),
        read_head(process.stderr, limits.log_bytes),
    )
    return _Outcome(await process.wait(), answer, to_plain(output + complaint))


async def _send(stdin: asyncio.StreamWriter, data: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # why it ended is told by what follows
        stdin.write(data)
        await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def _end(process: asyncio.subprocess.Process) -> None:
    kill_sandbox(process)
    await process.wait()


def _check(outcome: _Outcome, used: int, limits: EvaluatorLimits) -> None:
    last = outcome.log.strip().splitlines()[-1] if outcome.log.strip() else f"exit code {outcome.exit_code}"
    if used:
        raise ResourceExhausted(
            f"The evaluator held {used >> 20} MB of memory, more than {limits.memory_bytes >> 20} MB.",
            hint="Make it use less, or raise PILOTLIGHT_SANDBOX_EVALUATOR_MEMORY_BYTES.",
        )
    if not outcome.channel.startswith(READY):
        raise FailedPrecondition(
            f"The evaluator's sandbox did not start, so nothing was run: {last}", hint="Run `pilotlight doctor`."
        )
    if outcome.exit_code != 0:
        raise FailedPrecondition(
            f"The evaluator failed: {last}", hint="Correct its source.", details=[{"log": outcome.log}]
        )
