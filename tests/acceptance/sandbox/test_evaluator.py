"""Code that a model wrote: what it returns is all that comes back, and nothing of it is left."""

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pilotlight.errors import FailedPrecondition, InvalidArgument, PilotlightError, ResourceExhausted
from runner.sandbox.evaluator import Evaluation, EvaluatorCall, run_evaluator
from runner.sandbox.result import parse_result
from runner.sandbox.spec import EvaluatorLimits, LaunchSpec
from tests.fixtures.sandbox import await_nothing_left, run_inside, with_code

LIMITS = EvaluatorLimits(wall_seconds=20, result_bytes=1000, log_bytes=2000, processes=16, tmpfs_bytes=8 << 20)
WRITE = "import os, sys\nos.write(int(sys.argv[1]), {data!r})\nos._exit({code})\n"
NEVER = "import time\ndef evaluate(value):\n    time.sleep(60)\n"


def run(source: str, uid: int | None, value: Any = None, **limits: Any) -> Evaluation:
    call = EvaluatorCall(source=source, input=value)
    return asyncio.run(run_evaluator(call, replace(LIMITS, **limits), uid))


def test_a_value_goes_in_and_a_value_comes_back(uid: int | None) -> None:
    source = "def evaluate(value):\n    return {'score': sum(value['rows']), 'text': value['text']}"
    result = run(source, uid, {"rows": [1, 2.5], "text": "naïve 日本"})
    assert result == ({"score": 3.5, "text": "naïve 日本"}, "")


def test_packages_of_its_own_come_instead_of_ours(uid: int | None, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "lamp.py").write_text("COLOUR = 'warm'")
    source = "import importlib.util, lamp\n"
    source += "def evaluate(value):\n    return [lamp.COLOUR, importlib.util.find_spec('pydantic') is None]"
    call = EvaluatorCall(source=source, input=None)
    assert asyncio.run(run_evaluator(call, LIMITS, uid, packages)).value == ["warm", True]


PRINTS = """
import sys
def evaluate(value):
    print('ready')
    print('{"score": 1}', flush=True)
    print('\\x1b[2Jgone\\x07', file=sys.stderr)
    print('x' * 1_000_000)
    return 0
"""


def test_what_it_prints_is_a_log_and_never_a_result(uid: int | None) -> None:
    value, log = run(PRINTS, uid)
    assert value == 0
    assert log.startswith('ready\n{"score": 1}\n')
    assert "\N{REPLACEMENT CHARACTER}[2Jgone\N{REPLACEMENT CHARACTER}" in log
    assert len(log) < 4100


@pytest.mark.parametrize(
    "data",
    [b"", b"NaN", b"1e999", b"-Infinity", b"{'a': 1}", b"1 2", b"[1]]", b"\xff", b"\x80\x04K\x01.", b'"\\ud800"'],
)
def test_a_result_that_is_not_strict_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="not strict JSON"):
        parse_result(data)


def test_a_result_may_be_nested_64_levels_and_no_more() -> None:
    assert parse_result(b"[" * 63 + b"1" + b"]" * 63)
    for depth in (64, 5000):
        with pytest.raises(InvalidArgument):
            parse_result(b"[" * depth + b"1" + b"]" * depth)


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        (WRITE.format(data=b"1e999", code=0), InvalidArgument, "not strict JSON"),
        (WRITE.format(data=b"1", code=3), FailedPrecondition, "evaluator failed"),
        (WRITE.format(data=b"1" * 1001, code=0), ResourceExhausted, "more than 1"),
        ("def evaluate(value): return float('nan')", FailedPrecondition, "not JSON compliant"),
        ("def evaluate(value): return object()", FailedPrecondition, "not JSON serializable"),
        ("def evaluate(value): return 'x' * 5000", ResourceExhausted, "more than 1"),
        ("def evaluate(value): return value['absent']", FailedPrecondition, "TypeError"),
        ("def other(value): return 1", FailedPrecondition, "no function 'evaluate'"),
        ("def evaluate(:", FailedPrecondition, "SyntaxError"),
    ],
)
def test_what_fails_is_an_error_and_never_a_result(
    source: str, kind: type[PilotlightError], message: str, uid: int | None
) -> None:
    with pytest.raises(kind, match=message) as caught:
        run(source, uid)
    assert caught.value.hint


IGNORES = """
import signal
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_IGN)
while True: pass
"""


@pytest.mark.parametrize(
    "source",
    [
        NEVER,
        IGNORES,
        "import os, sys\nos.close(int(sys.argv[1]))\n" + NEVER + "evaluate(1)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    ],
    ids=["sleeps", "ignores signals", "closes its channel", "stops itself"],
)
def test_its_time_is_bounded_and_nothing_of_it_is_left(source: str, uid: int | None) -> None:
    with pytest.raises(ResourceExhausted, match=r"within 1\.5 seconds"):
        run(source, uid, wall_seconds=1.5)
    await_nothing_left(uid)


@pytest.mark.parametrize(
    "body",
    [
        "data = [bytearray(b'x' * (64 << 20)) for _ in range(8)]; time.sleep(10)",
        "[os.fork() for _ in range(3)]; data = b'x' * (24 << 20); time.sleep(10)",
        "[open(f'/tmp/{n}', 'w').close() for n in range(150_000)]; time.sleep(3)",
    ],
    ids=["one process", "several processes", "empty files"],
)
def test_its_memory_is_bounded_as_a_whole(body: str, uid: int | None) -> None:
    source = f"import os, time\ndef evaluate(value):\n    {body}\n"
    with pytest.raises(ResourceExhausted, match="MB of memory"):
        run(source, uid, memory_bytes=64 << 20, wall_seconds=60)
    await_nothing_left(uid)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("for n in range(100):\n            if os.fork() == 0: time.sleep(30)", "BlockingIOError"),
        ("for n in range(100): threading.Thread(target=time.sleep, args=(30,), daemon=True).start()", "RuntimeError"),
        ("open('/work/large', 'wb').write(bytes(9 << 20))", "OSError"),
        ("open('/dev/shm/large', 'wb').write(bytes(9 << 20))", "OSError"),
        ("kept = [open('/dev/null') for n in range(1000)]", "OSError"),
        ("mmap.mmap(-1, 5 << 30)", "OSError"),
        ("open('/dev/large', 'wb')", "OSError"),
    ],
)
def test_its_resources_are_bounded(body: str, expected: str, uid: int | None) -> None:
    source = f"import mmap, os, threading, time\ndef evaluate(value):\n    try:\n        {body}\n"
    source += "    except (OSError, RuntimeError) as error:\n        return type(error).__name__\n"
    assert run(source, uid).value == expected
    await_nothing_left(uid)


def test_processor_time_is_bounded_even_when_the_signal_is_ignored(uid: int | None) -> None:
    source = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    with pytest.raises(FailedPrecondition, match="exit code 137"):
        run(source, uid, cpu_seconds=1, wall_seconds=60)


def test_a_process_that_it_detached_ends_with_it(uid: int | None) -> None:
    source = "import os, time\ndef evaluate(value):\n    if os.fork() == 0:\n        os.setsid()\n"
    source += "        if os.fork() == 0: time.sleep(60)\n        os._exit(0)\n    return 1\n"
    assert run(source, uid).value == 1
    await_nothing_left(uid)


def test_an_evaluator_sees_none_of_our_other_code(uid: int | None) -> None:
    source = "import os\ndef evaluate(value): return os.listdir('/opt/app') + os.listdir('/opt/app/runner')"
    assert run(source, uid).value == ["runner", "sandbox"]


def test_it_keeps_nothing_for_the_next_call(uid: int | None) -> None:
    source = "import os\ndef evaluate(value):\n    seen = os.listdir('/work') + os.listdir('/tmp')\n"
    source += "    open('/work/kept', 'w'); open('/tmp/kept', 'w')\n    return seen\n"
    assert [run(source, uid).value for _ in range(2)] == [[], []]


def test_a_cancelled_caller_leaves_nothing(uid: int | None) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(run_evaluator(EvaluatorCall(source=NEVER, input=1), LIMITS, uid))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    await_nothing_left(uid)


def test_descriptors_and_threads_are_given_back(uid: int | None) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    run("def evaluate(value): return 1", uid)
    with pytest.raises(FailedPrecondition):
        run("x", uid)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert threading.active_count() < 10


def test_a_sandbox_that_does_not_start_is_said_to_be_the_reason(uid: int | None) -> None:
    with pytest.raises(FailedPrecondition, match="did not start, so nothing was run"):
        run("print('ran')", uid, address_space_bytes=8 << 20)


def test_without_user_namespaces_nothing_is_run(spec: LaunchSpec) -> None:
    """Inside a sandbox no further namespace can be made: bubblewrap fails there, and so must we."""
    code = "import asyncio; from runner.sandbox.evaluator import EvaluatorCall, run_evaluator; "
    code += "from runner.sandbox.spec import EvaluatorLimits; call = EvaluatorCall(source='print(12345)', input=1); "
    code += "asyncio.run(run_evaluator(call, EvaluatorLimits(), None))"
    exit_code, output, complaint = asyncio.run(run_inside(with_code(spec, code)))
    assert exit_code == 1
    assert "did not start, so nothing was run: bwrap: " in complaint
    assert "12345" not in output
