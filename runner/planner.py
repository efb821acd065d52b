"""Drive the graph for one turn: start it, resume it with an answer from the inbox, or go on where a crash left it."""

import logging
import sqlite3
from pathlib import Path
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command, Interrupt, StateSnapshot

from pilotlight.errors import FailedPrecondition
from runner.graph import Planner, build_graph
from runner.nodes.gate import ask_again
from runner.state import GRAPH_VERSION, State
from runner.steering import steers, unread
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
    check_version(graph.get_state(config))
    while _advance(turn, graph, config):
        pass


def _advance(turn: Turn, graph: Planner, config: RunnableConfig) -> bool:
    """One stretch of work; False when this turn can do no more. What is said meanwhile steers, but never approves."""
    snapshot = graph.get_state(config)
    state = cast("State", snapshot.values)
    # Not `next`: killed between a node's result and the next checkpoint, a session has an empty `next` and is not done.
    if not snapshot.tasks and not unread(turn, state):
        turn.finish_again()
        return False
    if not snapshot.tasks:
        _invoke(graph, State(), config)
    elif not snapshot.interrupts:
        log.info("going on at %s", [task.name for task in snapshot.tasks])
        failed = any(task.error for task in snapshot.tasks)
        _invoke(graph, State() if failed and steers(turn, state) else None, config)
    elif answered := _find_answered(turn, snapshot.interrupts):
        _invoke(graph, Command(resume={answered.id: answered.value}), config)
    elif steers(turn, state):
        _invoke(graph, State(), config)
    else:
        ask_again(turn, snapshot.interrupts[0].value)
        return False
    return True


def _find_answered(turn: Turn, interrupts: tuple[Interrupt, ...]) -> Interrupt | None:
    """The open gate if its answer is in the inbox."""
    if len(interrupts) != 1:
        raise FailedPrecondition(f"{len(interrupts)} gates are open at once; a session has one question at a time.")
    return interrupts[0] if turn.answer(str(interrupts[0].value["question_id"])) else None


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


def _invoke(graph: Planner, given: State | Command[Any] | None, config: RunnableConfig) -> None:
    graph.invoke(given, config, durability="sync")
