"""The one place where bodies of spending requests are built. Plans grant exactly these; phases send exactly these."""

from typing import Any

from pilotlight.plan import Candidate
from runner.calls import Call, external_id
from runner.planning.recipe import Recipe
from runner.planning.timing import SCALE_TO_ZERO_SECONDS

CREATE_JOB = "CreateSupervisedFineTuningJob"
CREATE_PREFERENCE_JOB = "CreateDpoJob"
CREATE_DEPLOYMENT = "CreateDeployment"
LOAD_LORA = "CreateDeployedModel"
CHAT = "CreateChatCompletion"


def candidate_job(recipe: Recipe, candidate: Candidate) -> Call:
    """The training job of one candidate of the sweep."""
    return _job(recipe, candidate, recipe.step(candidate.id), recipe.sample.name, candidate.epochs)


def final_job(recipe: Recipe, candidate: Candidate) -> Call:
    """The run on the whole training side with the settings of `candidate`."""
    return _job(recipe, candidate, recipe.step("final"), recipe.train.name, recipe.final_epochs)


def tuned_model(recipe: Recipe, candidate: Candidate) -> str:
    """The model that is evaluated and deployed when `candidate` won."""
    step = recipe.step("final" if recipe.final else candidate.id)
    return f"accounts/{recipe.account}/models/{external_id(recipe.session, step)}"


def evaluation_deployment(recipe: Recipe, candidate: Candidate) -> Call:
    """The base model with addons enabled: base and tuned model are asked on the same replica [P71]."""
    return deployment(recipe, recipe.step("eval"), candidate.base_model, {"enableAddons": True})


def lora_load(recipe: Recipe, candidate: Candidate) -> Call:
    """The tuned model loaded onto the evaluation deployment."""
    deployment = f"accounts/{recipe.account}/deployments/{external_id(recipe.session, recipe.step('eval'))}"
    body = {"model": tuned_model(recipe, candidate), "deployment": deployment}
    path = f"/v1/accounts/{recipe.account}/deployedModels"
    return Call(recipe.step("load"), LOAD_LORA, "POST", path, {}, body)


def final_deployment(recipe: Recipe, candidate: Candidate) -> Call:
    """The tuned model itself, merged live into its base [P71]."""
    return deployment(recipe, recipe.step("deploy"), tuned_model(recipe, candidate), {})


def question_body(recipe: Recipe, model: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """A greedy evaluation request."""
    return {"model": model, "messages": messages, "max_tokens": recipe.answer_tokens, "temperature": 0}


def deployment_name(recipe: Recipe, call: Call) -> str:
    """The resource name of a deployment that `call` creates."""
    return f"accounts/{recipe.account}/deployments/{call.query['deploymentId']}"


def job_id(call: Call) -> str:
    """The ID of the job that `call` creates."""
    (identifier,) = call.query.values()
    return identifier


def output_model(call: Call) -> str:
    """The model that the job of `call` makes."""
    settings: dict[str, Any] = call.body.get("trainingConfig", call.body)
    return str(settings["outputModel"])


def _job(recipe: Recipe, candidate: Candidate, step: str, dataset: str, epochs: float) -> Call:
    identifier = external_id(recipe.session, step)
    data: dict[str, Any] = {
        "displayName": identifier,
        "dataset": dataset,
        "evaluationDataset": recipe.heldout.name,
        "evalAutoCarveout": False,
    }
    settings: dict[str, Any] = {
        "baseModel": candidate.base_model,
        "outputModel": f"accounts/{recipe.account}/models/{identifier}",
        "loraRank": candidate.lora_rank,
        "learningRate": candidate.learning_rate,
        "epochs": epochs,
    }
    if tokens := recipe.base(candidate.base_model).batch_tokens:
        settings["batchSize"] = tokens
    account = f"/v1/accounts/{recipe.account}"
    if recipe.pairs is not None:
        body = data | {"trainingConfig": settings, "lossConfig": _loss(recipe.pairs.method, candidate)}
        return Call(step, CREATE_PREFERENCE_JOB, "POST", f"{account}/dpoJobs", {"dpoJobId": identifier}, body)
    query = {"supervisedFineTuningJobId": identifier}
    return Call(step, CREATE_JOB, "POST", f"{account}/supervisedFineTuningJobs", query, data | settings)


def _loss(method: str, candidate: Candidate) -> dict[str, Any]:
    beta = {"dpo": {"beta": candidate.beta}} if method == "DPO" else {"klBeta": candidate.beta}
    return {"method": method, **beta}


def deployment(recipe: Recipe, step: str, model: str, more: dict[str, Any]) -> Call:
    """A deployment of one replica at most that sleeps when it is idle."""
    identifier = external_id(recipe.session, step)
    body: dict[str, Any] = {
        "displayName": identifier,
        "baseModel": model,
        "minReplicaCount": 0,
        "maxReplicaCount": 1,
        "autoscalingPolicy": {"scaleToZeroWindow": f"{SCALE_TO_ZERO_SECONDS}s"},
    }
    path = f"/v1/accounts/{recipe.account}/deployments"
    return Call(step, CREATE_DEPLOYMENT, "POST", path, {"deploymentId": identifier}, body | more)
