"""Phase 7: one message, one file: IDs, metrics, costs, what still runs, how to call it [A99, A155]."""

import json
from decimal import Decimal
from typing import Any

from langgraph.types import Command

import prompts
from pilotlight.plan import Phase, Plan
from runner import heldout, results
from runner.phases.evaluate import winning_job
from runner.phases.sweep import scoreboard
from runner.planning.recipe import Recipe
from runner.results import load_recipe
from runner.scoring.winner import Verdict
from runner.state import State
from runner.turn import Turn

REPORT = "final_report.md"
LABELS_TOLD = 30
"""Labels of a table in a message, which is bounded in size; files hold all."""
_LONGEST_EXAMPLE = 2000
_PLACEHOLDER = [{"role": "user", "content": "Hello"}]
"""Events carry no text of the data; the report, a file for its owner, shows one row."""


def run(turn: Turn, state: State) -> Command[str]:
    """Write, announce, finish."""
    recipe = load_recipe(turn)
    turn.phase(Phase.REPORT, "started", recipe.generation)
    values = describe(turn, recipe, state.get("winner", ""), turn.cost(f"{recipe.generation}/report"))
    return publish(turn, recipe, values, "report.md.j2", "success.md.j2")


def publish(turn: Turn, recipe: Recipe, values: dict[str, Any], report: str, success: str) -> Command[str]:
    """Render the file and the message from these two templates, and end the work as succeeded."""
    turn.workspace.write_text(REPORT, prompts.render(report, **values))
    turn.artifact(REPORT, "Final report")
    message = prompts.render(success, **values | {"example": _PLACEHOLDER, "most": LABELS_TOLD})
    turn.emit("report", {"path": REPORT, "text": message}, f"report/{recipe.generation}")
    turn.phase(Phase.REPORT, "completed", recipe.generation, summary=REPORT)
    turn.finish("succeeded", message)
    return Command(goto="__end__")


def describe(turn: Turn, recipe: Recipe, winner: str, cost: dict[str, Any]) -> dict[str, Any]:
    """What the templates of the report need."""
    candidate, jobs = recipe.candidate(winner), results.load_jobs(turn, recipe)
    ended = [job for job in jobs if job.label != "final"]
    verdict = results.load(turn, recipe, "sweep")
    proof = results.load(turn, recipe, "deployment")
    return {
        "plan": Plan.model_validate(turn.workspace.read_json("plan.json")),
        "recipe": recipe,
        "candidate": candidate,
        "job": winning_job(turn, recipe, candidate),
        "board": scoreboard(recipe, ended, Verdict(**verdict), heldout.load(turn, recipe)) if verdict else "",
        "found": results.load(turn, recipe, "evaluation"),
        "proof": proof,
    } | shared_values(turn, proof, cost)


def shared_values(turn: Turn, proof: dict[str, Any], cost: dict[str, Any]) -> dict[str, Any]:
    """What every report shows: how to call the deployment (if there is one), and the cost."""
    messages = proof.get("messages", _PLACEHOLDER)
    return {
        "prompt": _last_words(messages),
        "example": _example(messages),
        "url": turn.context.public_url.rstrip("/"),
        "account": turn.context.account,
        "actual": _actual(cost),
        "cost": cost,
        "running": cost.get("running", []),
    }


def _actual(cost: dict[str, Any]) -> dict[str, Any]:
    """Per phase what it cost so far, and whether something of it still runs or is not settled yet."""
    sums: dict[str, Any] = {}
    for line in cost.get("lines", []):
        entry = sums.setdefault(str(line["phase"]), {"usd": Decimal(0), "open": False})
        entry["usd"] += Decimal(str(line.get("actual") or 0))
        entry["open"] = entry["open"] or Decimal(str(line.get("reserved") or 0)) > 0
    return sums


def _example(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The held-out request as it was sent, for a call that runs as printed; another one where it is long."""
    return messages if len(json.dumps(messages)) <= _LONGEST_EXAMPLE else _PLACEHOLDER


def _last_words(messages: list[dict[str, Any]]) -> str:
    content = messages[-1].get("content") if messages else ""
    return content if isinstance(content, str) else json.dumps(content)
