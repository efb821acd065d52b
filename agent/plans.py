"""Plans a runner proposes: checked, hashed, kept. Nothing is granted here."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from sqlmodel import Session, select

import prompts
from agent import journal, spending
from agent.questions import require_turn
from agent.tables import AnswerRow, InstructionRow, PlanRow, SessionRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import FailedPrecondition, InvalidArgument
from pilotlight.money import from_micros, show, usd
from pilotlight.names import CATALOGUE_ACCOUNT
from pilotlight.plan import Increase, Plan
from pilotlight.question import Answer
from runner.interpreter import interpret

_ACCOUNT = re.compile(r"\baccounts/([^/\s\"']+)/")


def keep_plan(db: Session, row: SessionRow, plan: Plan, epoch: int) -> PlanRow:
    """Make `plan` the session's plan; the same plan again changes nothing.

    Raises InvalidArgument for a plan of another session or account, or above the budget that the user said;
    FailedPrecondition when its grants exceed the session's spend limit, Aborted for a stale epoch.
    """
    require_turn(db, row, epoch)
    _check_plan(db, row, plan)
    digest = plan.digest()
    stored = db.get(PlanRow, (row.id, digest))
    if stored is None:
        stored = PlanRow(
            session_id=row.id,
            plan_hash=digest,
            document=plan.canonical(),
            markdown=prompts.render_plan(plan),
            time=to_rfc3339(now()),
        )
        db.add(stored)
        db.flush()
    if row.plan_hash != digest:
        journal.set_fields(db, row.id, {"plan_hash": digest}, epoch=epoch)
    return stored


def _check_plan(db: Session, row: SessionRow, plan: Plan) -> None:
    if plan.session not in (row.id, f"accounts/{row.account}/sessions/{row.id}"):
        raise InvalidArgument(f"The plan is for session {plan.session[:80]!r}, not {row.id!r}.")
    document = plan.model_dump(mode="json")
    del document["instruction"]  # the user's words may mention anything
    for account in _accounts(document):
        if account not in (row.account, CATALOGUE_ACCOUNT):
            raise InvalidArgument(f"The plan names the account {account[:80]!r}, which is neither yours nor public.")
    _check_limit(db, row, plan)
    _check_budget(db, row, plan)
    if plan.increase is not None:
        _check_increase(db, row, plan, plan.increase)


def _check_limit(db: Session, row: SessionRow, plan: Plan) -> None:
    if row.spend_limit_micros is None:
        return
    spent = spending.read_cost(db, row.id).so_far
    wanted = sum((grant.max_cost for grant in plan.grants), spent)
    limit = from_micros(row.spend_limit_micros)
    if wanted > limit:
        raise FailedPrecondition(f"The plan may cost up to {show(wanted)}; this session's limit is {show(limit)}.")


def _check_increase(db: Session, row: SessionRow, plan: Plan, increase: Increase) -> None:
    """What the user reads about the past is the ledger's word, whatever a runner writes."""
    cost = spending.read_cost(db, row.id)
    ended = {(item.resource, item.limit, item.approved, item.spent) for item in cost.ended}
    for stop in increase.stops:
        if stop.limit == "failed":
            if stop.approved or stop.spent:
                raise FailedPrecondition("What failed says nothing of money: the session's cost does.")
        elif stop.resource and (stop.resource, stop.limit, stop.approved, stop.spent) not in ended:
            raise FailedPrecondition(f"{stop.resource[:200]} was not ended at its approved limit as the plan says.")
    if plan.cost.so_far + increase.held < cost.so_far + cost.reserved:
        raise FailedPrecondition("The plan shows less than what the session has cost so far.")
    approved = db.get(PlanRow, (row.id, increase.previous))
    if approved is None or approved.approved_by is None:
        raise FailedPrecondition("Only an approved plan can be increased.")


def _check_budget(db: Session, row: SessionRow, plan: Plan) -> None:
    """The budget that the user's words name is a cap, whatever budget the runner wrote into its plan."""
    said = _find_budget(db, row)
    if said is None:
        return
    wanted = sum((grant.max_cost for grant in plan.grants), spending.read_cost(db, row.id).so_far)
    if wanted > said:
        raise InvalidArgument(
            f"The plan may cost up to {show(wanted)}; the budget of the instruction is {show(said)}.",
            hint="Say another budget, for example `budget $5`, to have a plan of another size.",
        )


def _find_budget(db: Session, row: SessionRow) -> Decimal | None:
    """The last budget that was said: in the instruction, later instructions, or answers."""
    later = db.exec(select(InstructionRow).where(InstructionRow.session_id == row.id)).all()
    answers = db.exec(select(AnswerRow).where(AnswerRow.session_id == row.id)).all()
    texts = [(item.time, item.text) for item in later]
    texts += [(item.time, Answer.model_validate_json(item.document).text) for item in answers]
    budgets = [interpret(text).budget_usd for text in (row.instruction, *(text for _, text in sorted(texts)))]
    said = [budget for budget in budgets if budget is not None]
    return usd(said[-1]) if said else None


def _accounts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _ACCOUNT.findall(value)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _accounts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _accounts(inner)
