"""Write an evaluator from the library: the file, and what is said about it."""

from typing import NamedTuple

import prompts
from runner.evaluators.kinds import TITLES, Kind

ROW_SECONDS = 5
"""Wall time after which the sandbox gives up on one answer; see agent.evaluations."""


class Draft(NamedTuple):
    """An evaluator before its gate. `compares`: whether it compares with the right answer, or checks the form only."""

    source: str
    spec: str
    title: str
    compares: bool
    author: str


def write_from_library(kind: Kind, dataset: str, wish: str) -> Draft:
    """The evaluator of a kind of the library."""
    values = {"title": TITLES[kind.name], "dataset": dataset, "settings": kind.settings}
    source = prompts.render(f"evaluators/{kind.name}.py.j2", **values)
    contract = prompts.render(f"evaluators/{kind.name}.md.j2", **values).strip()
    spec = describe(TITLES[kind.name], dataset, wish, f"{kind.why}; written from the built-in library", contract)
    return Draft(source, spec, TITLES[kind.name], kind.compares, "library")


def describe(title: str, dataset: str, wish: str, why: str, contract: str) -> str:
    """The specification: what was asked for, and the contract in Markdown."""
    values = {"title": title, "dataset": dataset, "wish": wish, "why": why, "contract": contract}
    return prompts.render("eval_spec.md.j2", **values, row_seconds=ROW_SECONDS)
