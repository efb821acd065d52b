"""Plans: honest ones that a person may well approve, and some that try to grant more than they show."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.adversary.world import BASE, World

Json = dict[str, Any]


def exactly(value: Any) -> Json:
    """A rule for one value."""
    return {"equals": value, "isEquals": True}


def make_plan(world: World, grants: list[Json], high: float | None = None) -> Json:
    """A plan with these grants, whose preview is their sum unless `high` lies about it."""
    total = sum(float(grant["maxCost"]) for grant in grants) if high is None else high
    counts = ("rows", "trainRows", "heldoutRows", "sweepRows", "trainTokens", "heldoutTokens", "sweepTokens")
    line = {"phase": "train", "kind": "training", "text": "all", "low": "0", "expected": "0", "high": f"{total:.6f}"}
    data = {"source": f"accounts/{world.account}/datasets/d", "contentHash": "0" * 64, "seed": 42, "split": "80/20"}
    return {
        "session": world.session,
        "workflow": "sft",
        "instruction": f"plan {world.fresh()}",
        "dataset": data | dict.fromkeys(counts, 10),
        "baseModels": [BASE],
        "values": [],
        "candidates": [],
        "cost": {"lines": [line], "priceSource": "the adversary"},
        "grants": grants,
        "expires": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    }


def job_grant(world: World, calls: int) -> Json:
    """Jobs with listed IDs and every other field fixed."""
    ids = [world.fresh() for _ in range(calls + 2)]
    rules = {
        "query.supervisedFineTuningJobId": {"oneOf": ids},
        "body.dataset": exactly(f"accounts/{world.account}/datasets/d"),
        "body.baseModel": exactly(BASE),
        "body.outputModel": {"oneOf": [f"accounts/{world.account}/models/{name}" for name in ids]},
        "body.epochs": {"minimum": 1, "maximum": 2},
        "body.loraRank": {"oneOf": [4, 8]},
    }
    cost = f"{world.rng.choice((0.0008, 0.004, 0.03)) * calls:.6f}"
    return _grant(world, "CreateSupervisedFineTuningJob", rules, calls, cost)


def deployment_grant(world: World) -> Json:
    """A deployment of up to three replicas for some seconds to minutes; its cost is for all three."""
    hours = world.rng.choice((0.002, 0.01, 0.05))
    rules = {
        "query.deploymentId": exactly(world.fresh()),
        "body.baseModel": exactly(BASE),
        "body.minReplicaCount": {"oneOf": [0, 0, 0, 0, 1]},
        "body.maxReplicaCount": {"minimum": 1, "maximum": 3},
        "body.autoscalingPolicy.scaleToZeroWindow": {"oneOf": ["300s", "300s", "60s", "900s", "0s", None]},
    }
    return _grant(world, "CreateDeployment", rules, 1, f"{hours * 0.2 * 3:.6f}") | {"maxHours": hours}


def chat_grant(world: World) -> Json:
    """Some questions to a model."""
    rules = {
        "body.model": {"oneOf": [BASE, f"accounts/{world.account}/deployments/d"]},
        "body.messages": {"maxBytes": 2000},
        "body.max_tokens": {"minimum": 1, "maximum": 64},
    }
    return _grant(world, "CreateChatCompletion", rules, world.rng.choice((1, 3, 8)), "0")


def propose(world: World) -> Json:
    """Mostly what an honest planner would propose; else one of the greedy plans."""
    honest = [job_grant(world, world.rng.choice((1, 2, 3))), deployment_grant(world), chat_grant(world)]
    if world.rng.random() < 0.75:
        return make_plan(world, honest)
    return world.rng.choice(GREEDY)(world)


def _grant(world: World, method: str, rules: Json, calls: int, cost: str) -> Json:
    return {
        "id": world.fresh(),
        "gate": "promotion" if world.rng.random() < 0.15 else "plan_approval",
        "method": method,
        "rules": rules,
        "maxCalls": calls,
        "maxCost": cost,
        "phase": "train",
        "text": "what the plan needs",
    }


def _underpriced(world: World) -> Json:
    return make_plan(world, [job_grant(world, 2)], 0.0)


def _free_jobs(world: World) -> Json:
    return make_plan(world, [job_grant(world, 3) | {"maxCost": "0"}])


def _tiny_deployment(world: World) -> Json:
    return make_plan(world, [deployment_grant(world) | {"maxCost": "0.000001"}])


def _endless_deployment(world: World) -> Json:
    grant = deployment_grant(world)
    return make_plan(world, [{name: value for name, value in grant.items() if name != "maxHours"}])


def _open_rules(world: World) -> Json:
    grant = job_grant(world, 1)
    return make_plan(world, [grant | {"rules": {name: {"maxBytes": 10_000_000} for name in grant["rules"]}}])


def _destructive(world: World) -> Json:
    method = world.rng.choice(("DeleteModel", "CancelSupervisedFineTuningJob", "UpdateUser", "*", ""))
    return make_plan(world, [job_grant(world, 1) | {"method": method, "rules": {}}])


def _negative(world: World) -> Json:
    return make_plan(world, [job_grant(world, 1) | {"maxCost": "-5"}, job_grant(world, 1) | {"maxCost": "5"}], 0.0)


def _foreign_session(world: World) -> Json:
    return make_plan(world, [job_grant(world, 1)]) | {"session": "1779157376-41e1"}


def _foreign_account(world: World) -> Json:
    plan = make_plan(world, [job_grant(world, 1)])
    return plan | {"dataset": plan["dataset"] | {"source": "accounts/other/datasets/secret"}}


def _expired(world: World) -> Json:
    return make_plan(world, [job_grant(world, 1)]) | {"expires": "2020-01-01T00:00:00Z"}


def _same_grant_twice(world: World) -> Json:
    grant = job_grant(world, 2)
    return make_plan(world, [grant, grant])


def _not_finite(world: World) -> Json:
    return make_plan(world, [job_grant(world, 1) | {"maxCost": world.rng.choice(("NaN", "Infinity", "1e400"))}], 1.0)


GREEDY: list[Callable[[World], Json]] = [
    _underpriced, _free_jobs, _tiny_deployment, _endless_deployment, _open_rules, _destructive, _negative,
    _foreign_session, _foreign_account, _expired, _same_grant_twice, _not_finite,
]  # fmt: skip
