"""An evaluator of several files as one source for `evaluate`: its own contract behind `evaluate(row, completion)`.

Inside the sandbox, standard library only. An evaluator is files and an entry point, `evaluator.py::evaluate`. Its
function names what it takes: a parameter `row` gets the row (or Eval Protocol's EvaluationRow, where it says so),
`ground_truth` the row's, `messages` the conversation, `completion` or `model_output` what the model wrote; any others
get what the model wrote and the ground truth, in order. It returns a number from 0 to 1, or an object or a dictionary
with that number as `score`.
"""

import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEFAULT_FUNCTION = "evaluate"
_TRUTH = ("ground_truth", "expected", "reference")
_WRITTEN = ("completion", "model_output")
_SOURCE = """import json
from runner.sandbox.harness import call, load

_function = load(json.loads({files!r}), {entry!r})


def evaluate(row, completion):
    return call(_function, row, completion)
"""


def as_source(files: dict[str, str], entry: str) -> str:
    """One source for all of these files (path -> text). `entry` is `file.py::function`, or `file.py`."""
    return _SOURCE.format(files=json.dumps(files), entry=entry)


def load(files: dict[str, str], entry: str) -> Callable[..., Any]:
    """Write the files into the working folder and import the entry point. Raises what importing it raises."""
    root = Path.cwd() / "evaluator"
    for name, text in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    path, _, name = entry.partition("::")
    # Eval Protocol's client library would ask the network for prices, in a thread that its own imports race with.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    sys.path[:0] = [str((root / path).parent), str(root)]
    spec = importlib.util.spec_from_file_location(Path(path).stem, root / path)
    if spec is None or spec.loader is None or not (root / path).is_file():
        raise ImportError(f"there is no Python file {path!r} in the evaluator")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return _find(module, name)


def call(function: Callable[..., Any], row: dict[str, Any], completion: str) -> Any:
    """One score: a number, or a dictionary with `score` and perhaps `reason`. Raises what the function raises."""
    value = function(**_arguments(function, row, completion))
    return _plain(_finish(value) if inspect.iscoroutine(value) else value)


def _find(module: Any, name: str) -> Callable[..., Any]:
    if not name:
        found = [key for key, value in vars(module).items() if hasattr(value, "_origin_func")]
        name = found[0] if len(found) == 1 else DEFAULT_FUNCTION
    function = getattr(module, name, None)
    if not callable(function):
        raise AttributeError(f"the evaluator defines no function {name!r}")
    return getattr(function, "_origin_func", function)


def _finish(coroutine: Any) -> Any:
    """Run it without an event loop, which would need a socket. Raises RuntimeError when it waits for something."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("the evaluator waits for something, and there is nothing to wait for in its sandbox")


def _arguments(function: Callable[..., Any], row: dict[str, Any], completion: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    unnamed = iter((completion, row.get("ground_truth")))
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if name in _TRUTH:
            given[name] = row.get("ground_truth")
        elif name == "messages":
            given[name] = row.get("messages", [])
        elif name == "row":
            given[name] = _protocol_row(row, completion) if _wants_protocol(parameter.annotation) else row
        elif name in _WRITTEN or parameter.default is parameter.empty:
            given[name] = next(unnamed, None)
    return given


def _wants_protocol(annotation: Any) -> bool:
    return "EvaluationRow" in (annotation if isinstance(annotation, str) else getattr(annotation, "__name__", ""))


def _protocol_row(row: dict[str, Any], completion: str) -> Any:
    models = importlib.import_module("eval_protocol.models")
    answered = [*row.get("messages", []), {"role": "assistant", "content": completion}]
    messages = [models.Message(**message) for message in answered]
    return models.EvaluationRow(messages=messages, ground_truth=row.get("ground_truth"))


def _plain(value: Any) -> Any:
    value = getattr(value, "evaluation_result", value)
    if isinstance(value, dict) or not hasattr(value, "score"):
        return float(value) if isinstance(value, bool) else value
    reason = str(getattr(value, "reason", None) or "")
    return {"score": value.score, **({"reason": reason} if reason else {})}
