"""What a runner would import and build at its start, done once in the process that runners are forked from.

Nothing of it may leave a thread, a descriptor or a used random generator behind: SQLite is imported but not opened,
since every fork would inherit the state that its random numbers come from.
"""

from importlib import import_module
from typing import TypedDict

import httpx
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from runner.interpreter import interpret

_LATE = ("httpcore", "encodings.unicode_escape", "encodings.idna", "multiprocessing.connection")
"""Imported by libraries only when they are used."""


class _State(TypedDict, total=False):
    seen: str


def warm_up() -> None:
    """Touch what is made or imported only when it is first used."""
    for module in ("runner.main", *_LATE):
        import_module(module)
    httpx.Client(transport=httpx.HTTPTransport(uds="/nowhere")).close()
    interpret("Run SFT on Qwen3 32B using accounts/myacct/datasets/mydata for 2 epochs and at most $5.")
    _walk_through_a_gate()


def _walk_through_a_gate() -> None:
    """A graph as small as can be, from its start to a gate and on."""
    graph = StateGraph(_State)
    graph.add_node("gate", _hold)
    graph.add_edge(START, "gate")
    config: RunnableConfig = {"configurable": {"thread_id": "warm"}}
    compiled = graph.compile(checkpointer=InMemorySaver())
    compiled.invoke(_State(), config)
    compiled.invoke(Command(resume="!"), config)


def _hold(state: _State) -> _State:
    return {**state, "seen": interrupt("?")}
