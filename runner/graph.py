"""The wiring of the planner: which node follows which. Every other decision is in the nodes.

A gate is three nodes: propose (prepares and asks), gate (one interrupt, nothing else), act (reads the inbox).
"""

from typing import Any, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from pilotlight.crashpoints import Point, reach
from pilotlight.plan import Phase
from runner.nodes import approval, begin, clarify, comparison, gate, increase, promotion, trouble
from runner.state import NODES, State
from runner.turn import Turn
from runner.workflows import Node, phase_node

Planner = CompiledStateGraph[State, None, State, State]

_WORK: dict[str, Node] = {
    "begin": begin.begin,
    "answer": begin.answer,
    "clarify_propose": clarify.propose,
    "clarify_act": clarify.act,
    "inspect": phase_node(Phase.INSPECT),
    "plan_propose": approval.propose,
    "plan_act": approval.act,
    "sweep": phase_node(Phase.SWEEP),
    "promotion_propose": promotion.propose,
    "promotion_act": promotion.act,
    "train": phase_node(Phase.TRAIN),
    "evaluate": phase_node(Phase.EVALUATE),
    "comparison_propose": comparison.propose,
    "comparison_act": comparison.act,
    "deploy": phase_node(Phase.DEPLOY),
    "report": phase_node(Phase.REPORT),
    "trouble_propose": trouble.propose,
    "trouble_act": trouble.act,
    "increase_propose": increase.propose,
    "increase_act": increase.act,
}
_GATES = {
    "clarify_gate": "clarify_act",
    "plan_gate": "plan_act",
    "promotion_gate": "promotion_act",
    "comparison_gate": "comparison_act",
    "trouble_gate": "trouble_act",
    "increase_gate": "increase_act",
}


def build_graph(turn: Turn, saver: BaseCheckpointSaver[Any]) -> Planner:
    """The compiled graph of one turn."""
    graph = StateGraph(State)
    for name in NODES:
        if name in _GATES:
            graph.add_node(name, gate.hold)
            graph.add_edge(name, _GATES[name])
        else:
            graph.add_node(name, _bind(_WORK[name], turn), destinations=(*NODES, "__end__"))
    graph.add_edge(START, "begin")
    return graph.compile(checkpointer=saver)


class _Bound(Protocol):
    def __call__(self, state: State) -> Command[str]: ...


def _bind(node: Node, turn: Turn) -> _Bound:
    def bound(state: State) -> Command[str]:
        reach(Point.RUNNER_NODE_BEGUN)
        command = node(turn, state)
        reach(Point.RUNNER_NODE_DONE)
        return command

    return bound
