"""Phase 6: deploy the tuned model and prove it by a real request [A141]."""

from langgraph.types import Command

from pilotlight.plan import Phase
from runner import results, serving
from runner.limits import STOPPING, stop_phase
from runner.phases.evaluate import list_probes
from runner.planning import requests
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To the report; to the question for more at a limit; to trouble when the deployment does not answer."""
    recipe = load_recipe(turn)
    turn.phase(Phase.DEPLOY, "started", recipe.generation)
    candidate = recipe.candidate(state.get("winner", ""))
    call = requests.final_deployment(recipe, candidate)
    name = requests.deployment_name(recipe, call)
    probe = list_probes(recipe, turn.workspace.data / str(recipe.heldout.file))[0]
    try:
        serving.create(turn, call, name)
        body = requests.question_body(recipe, name, probe.messages)
        answer = serving.ask(turn, body | ({"tools": probe.tools} if probe.tools else {}))
    except STOPPING as error:
        return stop_phase(turn, Phase.DEPLOY, "deployment", name, error)
    proof = {
        "deployment": name,
        "model": requests.tuned_model(recipe, candidate),
        "messages": probe.messages,
        "answer": answer,
        "reference": probe.reference,
    }
    results.save(turn, recipe, "deployment", proof)
    turn.cost(f"{recipe.generation}/deploy")
    turn.phase(Phase.DEPLOY, "completed", recipe.generation, summary=f"{name} answered a request")
    return Command(goto="report")
