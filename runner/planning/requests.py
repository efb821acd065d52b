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
    return _load(recipe, "load", tuned_model(recipe, candidate), "eval")


def trial_step(recipe: Recipe, base: str) -> str:
    """The name of the deployment of a base model and its candidates, where each base model has one."""
    return f"trial{recipe.place(base)}"


def trial_deployment(recipe: Recipe, trial: str, base: str) -> Call:
    """A base model with addons enabled: it and its candidates are asked on the same replica [P71]."""
    return deployment(recipe, recipe.step(trial), base, {"enableAddons": True})


def trial_load(recipe: Recipe, trial: str, candidate: Candidate) -> Call:
    """A candidate loaded onto that deployment."""
    return _load(recipe, f"load-{candidate.id}", candidate_model(recipe, candidate), trial)


def candidate_model(recipe: Recipe, candidate: Candidate) -> str:
    """The model that the candidate's own run makes."""
    return output_model(candidate_job(recipe, candidate))


def final_deployment(recipe: Recipe, candidate: Candidate) -> Call:
    """The tuned model itself, merged live into its base [P71]."""
    return deployment(recipe, recipe.step("deploy"), tuned_model(recipe, candidate), {})


def question_body(recipe: Recipe, model: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """A greedy evaluation request."""
    return {"model": model, "messages": messages, "max_tokens": recipe.answer_tokens, "temperature": 0}


def template_body(model: str, messages: list[dict[str, Any]], tools: list[Any] | None = None) -> dict[str, Any]:
    """How the model's own chat template and tokenizer write a conversation: nothing is generated."""
    body = {"model": model, "messages": messages, "max_tokens": 0, "temperature": 0, "return_token_ids": True}
    return body | ({"tools": tools} if tools else {})


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


def _load(recipe: Recipe, step: str, model: str, deployment: str) -> Call:
    name = f"accounts/{recipe.account}/deployments/{external_id(recipe.session, recipe.step(deployment))}"
    path = f"/v1/accounts/{recipe.account}/deployedModels"
    return Call(recipe.step(step), LOAD_LORA, "POST", path, {}, {"model": model, "deployment": name})


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
