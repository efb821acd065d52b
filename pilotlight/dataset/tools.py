"""Rules for `tools` and `tool_calls` [P29]."""

from collections.abc import Iterator
from typing import Any, cast

import orjson

from pilotlight.dataset.content import kind_of, quote

Problem = tuple[str, str]


def check_tools(tools: Any) -> tuple[set[str], Problem | None]:
    """Names of the declared functions, and what is wrong with the declaration. None and [] declare nothing."""
    names: set[str] = set()
    if tools is None:
        return names, None
    if not isinstance(tools, list):
        return names, ("tools", f"it is {kind_of(tools)}")
    for index, tool in enumerate(cast("list[Any]", tools)):
        function = _function_of(tool)
        if function is None or not isinstance(function.get("name"), str) or not function["name"]:
            return names, ("tools", f"tools[{index}] has no function with a name")
        if not isinstance(function.get("parameters", {}), dict):
            return names, ("tools", f"tools[{index}].function.parameters is {kind_of(function['parameters'])}")
        names.add(function["name"])
    return names, None


def check_calls(calls: Any, declared: set[str], where: str) -> Iterator[Problem]:
    """What is wrong with the `tool_calls` of one message."""
    if not isinstance(calls, list):
        yield "tool_calls", f"{where}.tool_calls is {kind_of(calls)}"
        return
    for index, call in enumerate(cast("list[Any]", calls)):
        yield from _check_call(call, declared, f"{where}.tool_calls[{index}]")


def _check_call(call: Any, declared: set[str], where: str) -> Iterator[Problem]:
    function = _function_of(call)
    if function is None or not isinstance(function.get("name"), str) or not function["name"]:
        yield "tool_calls", f"{where} has no function with a name"
        return
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        yield "tool_calls", f"{where}.function.arguments is {kind_of(arguments)}, not a string of JSON"
        return
    if function["name"] not in declared:
        yield "undeclared_tool", f"{where} calls {quote(function['name'])}"
    try:
        valid = isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        valid = False
    if not valid:
        yield "tool_arguments", where


def _function_of(entry: Any) -> dict[str, Any] | None:
    if not isinstance(entry, dict) or cast("dict[str, Any]", entry).get("type", "function") != "function":
        return None
    function = cast("dict[str, Any]", entry).get("function")
    return cast("dict[str, Any]", function) if isinstance(function, dict) else None
