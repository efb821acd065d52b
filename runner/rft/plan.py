"""The plan of a registration: the code, how it was validated, the command that saves it. It costs nothing."""

from decimal import Decimal
from typing import Any

from pilotlight.clock import now
from pilotlight.names import expand_name
from pilotlight.plan import Cost, CostLine, Phase, Plan, PlanDataset
from pilotlight.requirements import PROTOCOL_PACKAGES
from pilotlight.tasks import Registration, RegistrationCheck
from runner.calls import Call, external_id
from runner.data.rows import read_lines
from runner.data.sides import Source
from runner.evaluators.scores import digest_of
from runner.planning.prepare import PLAN_LIFETIME
from runner.rft.file import FILE, PATH, function_of
from runner.turn import Turn

DEFAULT_MODEL = "accounts/fireworks/models/qwen3-8b"
_SKIPPED = "reinforcement fine-tuning runs through Managed Fine-Tuning, not from a session"
SKIPPED = {phase: _SKIPPED for phase in (Phase.SWEEP, Phase.TRAIN, Phase.EVALUATE, Phase.DEPLOY)}


def model_of(intent: dict[str, Any]) -> str:
    """The base model of the hand-off: the one that was named, else the documents' own."""
    named = intent.get("base_models") or []
    return expand_name(str(named[0]), "fireworks", "models") if named else DEFAULT_MODEL


def draft(
    turn: Turn, source: Source, facts: dict[str, Any], text: str, checks: list[RegistrationCheck], generation: int
) -> Plan:
    """The plan to approve. Its only call is `create_call`, which is free of charge."""
    context, evaluator = turn.context, evaluator_name(turn, generation)
    short = evaluator.rsplit("/", 1)[-1]
    rows = source.profile.rows
    return Plan(
        session=context.session,
        workflow="rft_evaluator",
        instruction=context.instruction,
        dataset=PlanDataset(
            source=source.name,
            content_hash=str(facts.get("content_hash", "")),
            rows=rows,
            train_rows=0,
            heldout_rows=0,
            sweep_rows=0,
            train_tokens=0,
            heldout_tokens=0,
            sweep_tokens=0,
            seed=42,
            split="not split: nothing is trained",
        ),
        base_models=[],
        values=[],
        candidates=[],
        skipped=SKIPPED,
        findings=[finding.sentence() for finding in source.profile.findings] + _without_truth(source),
        cost=Cost(lines=_lines(), wall_seconds=60.0, price_source=context.prices.describe()),
        grants=[],
        expires=now() + PLAN_LIFETIME,
        registration=Registration(
            evaluator=evaluator,
            file=PATH,
            source=text,
            digest=digest_of(text),
            packages=list(PROTOCOL_PACKAGES),
            checks=checks,
            validation=[f"pip install {' '.join(PROTOCOL_PACKAGES)}", f"ep local-test --entry {FILE} --ignore-docker"],
            save=f"firectl evaluator create {short} {PATH} --entry-point {FILE}::{function_of(source.name)}",
        ),
    )


def evaluator_name(turn: Turn, generation: int) -> str:
    """The evaluator's full name: derived, so that one whose answer was lost is found again."""
    identifier = external_id(turn.context.session, f"rft{generation}")
    return f"accounts/{turn.context.account}/evaluators/{identifier}"


def create_call(turn: Turn, plan: Plan, generation: int) -> Call:
    """The request that creates the evaluator of an approved plan."""
    made = registration_of(plan)
    path = f"/v1/accounts/{turn.context.account}/evaluatorsV2"
    body: dict[str, Any] = {
        "evaluatorId": made.evaluator.rsplit("/", 1)[-1],
        "evaluator": {
            "displayName": f"RFT {plan.dataset.source.rsplit('/', 1)[-1]}"[:63],
            "description": f"Eval Protocol evaluation for {plan.dataset.source}",
            "entryPoint": f"{FILE}::{function_of(plan.dataset.source)}",
            "requirements": "\n".join(made.packages),
            "defaultDataset": plan.dataset.source,
        },
    }
    return Call(f"rft{generation}", "CreateEvaluator", "POST", path, {}, body)


def registration_of(plan: Plan) -> Registration:
    """What is registered. Raises ValueError where the plan registers nothing."""
    if plan.registration is None:
        raise ValueError(f"a {plan.workflow} plan registers no evaluator")
    return plan.registration


def _without_truth(source: Source) -> list[str]:
    """Here the last assistant message counts as the right answer; a reinforcement fine-tuning job reads one field."""
    missing = sum("ground_truth" not in (line.value or {}) for line in read_lines(source.path))
    if not missing:
        return []
    return [f"{missing:,} rows have no ground_truth, which a reinforcement fine-tuning job reads: add it before that."]


def _lines() -> list[CostLine]:
    zero = Decimal(0)
    text = "register the evaluator: free of charge"
    return [CostLine(phase=Phase.REPORT, kind="inference", text=text, low=zero, expected=zero, high=zero)]
