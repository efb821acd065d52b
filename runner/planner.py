"""Drive the graph for one turn: start it, resume it with an answer from the inbox, or go on where a crash left it."""

import logging
import sqlite3
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command, Interrupt, StateSnapshot

from pilotlight.errors import FailedPrecondition
from runner.graph import Planner, build_graph
from runner.state import GRAPH_VERSION, State
from runner.turn import Turn

log = logging.getLogger(__name__)

STRICT_RESUME = "__pregel_strict_resume"
"""A private switch of LangGraph (pinned and tested): resuming a consumed interrupt is an error, never a re-use."""


def open_saver(path: Path) -> SqliteSaver:
    """The checkpoint file of one session; waits up to a minute for a lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    saver = SqliteSaver(sqlite3.connect(path, timeout=60, check_same_thread=False))
    saver.setup()
    return saver


def run_turn(turn: Turn, saver: SqliteSaver) -> None:
    """Work until the session waits for an answer or has ended."""
    graph, config = build_graph(turn, saver), make_config(turn.context.session)
    snapshot = graph.get_state(config)
    check_version(snapshot)
    # Not `next`: killed between a node's result and the next checkpoint, a session has an empty `next` and is not done.
    if not snapshot.tasks and turn.context.said()[snapshot.values.get("seen", 0) :]:
        _invoke(graph, State(), config)
    elif snapshot.tasks and not snapshot.interrupts:
        log.info("going on at %s", [task.name for task in snapshot.tasks])
        _invoke(graph, None, config)
    while (interrupts := graph.get_state(config).interrupts) and _resume(turn, graph, config, interrupts):
        pass


def make_config(session: str) -> RunnableConfig:
    """One thread per session."""
    return {"configurable": {"thread_id": session, STRICT_RESUME: True}, "recursion_limit": 200}


def check_version(snapshot: StateSnapshot) -> None:
    """Raise FailedPrecondition for a session that another version of the graph started."""
    version = snapshot.values.get("graph_version")
    if version not in (None, GRAPH_VERSION):
        raise FailedPrecondition(
            f"This session was planned by version {version} of the planner; this is version {GRAPH_VERSION}.",
            hint="Finish it with the release that started it, or start a new session.",
        )


def _resume(turn: Turn, graph: Planner, config: RunnableConfig, interrupts: tuple[Interrupt, ...]) -> bool:
    """Resume the open gate if its answer is in the inbox; tell whether anything moved."""
    if len(interrupts) != 1:
        raise FailedPrecondition(f"{len(interrupts)} gates are open at once; a session has one question at a time.")
    gate: Any = interrupts[0].value
    if turn.answer(str(gate["question_id"])) is None:
        return False
    _invoke(graph, Command(resume={interrupts[0].id: gate}), config)
    return True


def _invoke(graph: Planner, given: State | Command[Any] | None, config: RunnableConfig) -> None:
    graph.invoke(given, config, durability="sync")
