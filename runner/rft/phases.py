"""The phases of a registration: inspect writes and validates, the gate approves, then it is registered, and the end."""

import base64
import hashlib
import time
from typing import Any

from langgraph.types import Command

import prompts
from pilotlight.errors import AlreadyExists, FailedPrecondition
from pilotlight.plan import Phase, Plan
from pilotlight.question import Question, QuestionKind
from pilotlight.sources import pack
from pilotlight.tasks import RegistrationCheck
from runner.calls import Call
from runner.data.store import load_facts, load_source
from runner.evaluators import author, kept
from runner.evaluators.scores import EvaluatorUnfit
from runner.nodes import gate
from runner.phases import inspect
from runner.rft import plan as drafting
from runner.rft.file import FILE, PATH, write
from runner.rft.validate import validate
from runner.state import State
from runner.turn import Turn

_CHECKS = "state/rft_checks.json"
_BUILT_WITHIN = 1200.0


def prepare(turn: Turn, state: State) -> Command[str]:
    """Phase 1: stage the data, write the file, validate it. To planning, or to clarify when it cannot be done."""
    command = inspect.run(turn, state)
    if command.goto != "plan_propose":
        return command
    intent = state.get("intent", {})
    try:
        record = author.provide(turn, intent)
        examples, dataset = author.read_staged(turn), str(intent["train_dataset"])
        text = write(kept.code_of(turn.workspace, record.digest), dataset, drafting.model_of(intent), examples)
        turn.say("Validating the evaluator with Eval Protocol. The first time this installs it.", "rft/validate")
        checks = validate(turn, text, dataset, examples)
    except EvaluatorUnfit as error:
        return Command(goto="clarify_propose", update={"clarify": {"reason": "evaluator", "note": str(error)}})
    turn.workspace.write_text(PATH, text)
    turn.workspace.write_json(_CHECKS, [check.model_dump() for check in checks])
    turn.artifact(PATH, "The Eval Protocol evaluation")
    return command


def propose(turn: Turn, state: State) -> Command[str]:
    """Phase 2: the plan with the code, its validation and the command that saves it; one approval [A216]."""
    generation, asked = state.get("generation", 1), state.get("asked", 0)
    turn.phase(Phase.PLAN, "started", generation)
    identifier = gate.question_id(state, "plan")
    path = f"state/drafts/{identifier}.json"
    if turn.workspace.read_json(path) is None:
        made = _draft(turn, generation)
        turn.workspace.write_json(path, {"plan": made.model_dump(mode="json", by_alias=True), "recipe": {}})
    plan = Plan.model_validate(turn.workspace.read_json(path)["plan"])
    turn.publish_plan(plan)
    digest = plan.digest()
    question = Question(
        question_id=identifier,
        kind=QuestionKind.PLAN_APPROVAL,
        text="Do you approve registering this evaluator?",
        plan_hash=digest,
    )
    pending = gate.put(turn, question)
    return Command(goto="plan_gate", update={"pending": pending, "plan_hash": digest, "asked": asked + 1})


def register(turn: Turn, state: State) -> Command[str]:
    """After approval: create, upload, wait until it is built; then the hand-off, and the end [A217]."""
    plan = Plan.model_validate(turn.workspace.read_json("plan.json"))
    generation = state.get("generation", 1)
    for phase in (phase for phase in Phase if phase in plan.skipped):
        turn.phase(phase, "skipped", generation, reason=plan.skipped[phase])
    turn.phase(Phase.REPORT, "started", generation)
    try:
        _save(turn, plan, pack({FILE: _approved_text(turn, plan)}), generation)
    except FailedPrecondition as error:
        turn.finish("failed", f"The evaluator was not registered. {error}")
        return Command(goto="__end__")
    report = _report(turn, plan, state.get("intent", {}))
    turn.workspace.write_text("final_report.md", report)
    turn.artifact("final_report.md", "What was registered, and how to go on")
    turn.emit("report", {"text": report}, f"report/{generation}")
    turn.phase(Phase.REPORT, "completed", generation)
    turn.finish("succeeded", report)
    return Command(goto="__end__")


def _draft(turn: Turn, generation: int) -> Plan:
    source, facts = load_source(turn.workspace, "train"), load_facts(turn.workspace, "train")
    if source is None or facts is None:
        raise FailedPrecondition("The dataset is not staged.")
    text = (turn.workspace.root / PATH).read_text(encoding="utf-8")
    checks = [RegistrationCheck.model_validate(check) for check in turn.workspace.read_json(_CHECKS)]
    return drafting.draft(turn, source, facts, text, checks, generation)


def _approved_text(turn: Turn, plan: Plan) -> str:
    text, made = (turn.workspace.root / PATH).read_text(encoding="utf-8"), drafting.registration_of(plan)
    if hashlib.sha256(text.encode()).hexdigest() != made.digest:
        raise FailedPrecondition(f"{PATH} is not the file that was approved.", hint="Ask for the evaluator again.")
    return text


def _save(turn: Turn, plan: Plan, archive: bytes, generation: int) -> None:
    session, made = turn.context.session, drafting.registration_of(plan)
    path = f"/v1/{made.evaluator}"
    turn.client.send(drafting.create_call(turn, plan, generation), session)
    body = {"archive": base64.b64encode(archive).decode()}
    if turn.client.get(path).get("state") == "BUILDING":
        upload = Call(f"rft{generation}-source", "UploadEvaluatorSource", "POST", f"{path}:uploadSource", {}, body)
        try:
            turn.client.send(upload, session)
        except (AlreadyExists, FailedPrecondition):
            # Sent before, with its answer lost: what the platform has is compared below.
            turn.say("The source was uploaded before.", f"rft/{generation}/again")
    built = _wait(turn, path)
    target = turn.workspace.data / "registered.tar.gz"
    turn.client.download(f"{path}:downloadSource", target)
    if target.read_bytes() != archive:
        raise FailedPrecondition(f"{made.evaluator} holds another source than the one that was approved.")
    if built.get("state") != "ACTIVE":
        reason: dict[str, Any] = built.get("status") or {}
        raise FailedPrecondition(f"{made.evaluator} was not built: {reason.get('message') or built.get('state')}")


def _wait(turn: Turn, path: str) -> dict[str, Any]:
    deadline = time.monotonic() + _BUILT_WITHIN
    while (found := turn.client.get(path)).get("state") == "BUILDING":
        if time.monotonic() > deadline:
            raise FailedPrecondition("The evaluator was not built within 20 minutes.", hint="Look at its build log.")
        time.sleep(turn.poll_seconds)
    return found


def _report(turn: Turn, plan: Plan, intent: dict[str, Any]) -> str:
    made = drafting.registration_of(plan)
    handoff = (
        f"firectl rftj create --base-model {drafting.model_of(intent)} --evaluator {made.evaluator} "
        f"--dataset {plan.dataset.source}"
    )
    return prompts.render(
        "rft_done.md.j2",
        evaluator=made.evaluator,
        file=made.file,
        digest=made.digest,
        packages=made.packages,
        checks=made.checks,
        handoff=handoff,
        local=turn.context.backend == "local",
    )
