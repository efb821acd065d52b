"""The Turn API and the gateway, as the runner of one session reaches them through its socket.

The socket is the identity: `agent.binding` puts the turn into the request's scope, and nothing a runner sends can name
another. Every write is fenced by the turn's epoch.
"""

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlmodel import Session, select
from starlette.concurrency import run_in_threadpool

from agent import estimates, journal, spending
from agent.binding import find_turn
from agent.context import Control, ControlDep
from agent.plans import keep_plan
from agent.questions import ask_question, find_answer, require_turn
from agent.resources import cancel_jobs
from agent.states import Status
from agent.store import load_session, reading, writing
from agent.tables import AnswerRow, InstructionRow, SessionRow
from agent.turn_wire import (
    Delta,
    EventsReply,
    Finish,
    NewEvent,
    NewEvents,
    PlanReply,
    QuestionReply,
    StopJobs,
    StoppedJobs,
    TurnContext,
    TurnInstruction,
)
from agent.turns import Turn
from gateway.grants import CostSummary
from gateway.metering import load_gateway_prices
from gateway.principal import reaper_of
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import InvalidArgument, NotFound
from pilotlight.money import from_micros
from pilotlight.plan import Phase, Plan
from pilotlight.question import Answer, Question
from pilotlight.settings import Settings
from pilotlight.strict_json import StrictRoute

router = APIRouter(prefix="/turn/v1", route_class=StrictRoute)

TurnDep = Annotated[Turn, Depends(find_turn)]


@router.get("/context")
def read_context(control: ControlDep, turn: TurnDep) -> TurnContext:
    """The turn's task. Reading it marks the instructions so far as read."""
    with writing(control.engine) as db:
        row = load_session(db, turn.session)
        require_turn(db, row, turn.epoch)
        said = db.exec(select(InstructionRow).where(InstructionRow.session_id == row.id)).all()
        said = sorted(said, key=lambda instruction: instruction.number)
        if said and said[-1].number > row.seen_instruction:
            row.seen_instruction = said[-1].number
            db.add(row)
        return _describe(db, control.settings, row, said)


@router.post("/events")
def append_events(control: ControlDep, turn: TurnDep, body: NewEvents) -> EventsReply:
    """Append events in one transaction."""
    with writing(control.engine) as db:
        require_turn(db, load_session(db, turn.session), turn.epoch)
        for event in body.events:
            changes = _session_changes(event)
            # a name space of its own: a runner that knew the key of an `rpc` event could keep it from being told
            key = f"runner/{event.key}"
            journal.append(db, turn.session, event.type, event.payload, key=key, epoch=turn.epoch, changes=changes)
        last = load_session(db, turn.session).last_seq
        reach(Point.CONTROL_EVENTS_WRITTEN)
    reach(Point.CONTROL_EVENTS_COMMITTED)
    return EventsReply(last_seq=last)


@router.post("/deltas")
async def show_delta(control: ControlDep, turn: TurnDep, body: Delta) -> dict[str, str]:
    """Show text while it is being written, to whoever watches right now. It is not stored: the whole comes as an event.

    Best effort: only watchers of the process that serves this turn see it, and a slow one misses some.
    """
    control.feeds.show_delta(turn.session, body.model_dump())
    return {}


@router.post("/plan")
def post_plan(control: ControlDep, turn: TurnDep, body: Plan) -> PlanReply:
    """Keep a plan and return it as the user will read it."""
    with writing(control.engine) as db:
        stored = keep_plan(db, load_session(db, turn.session), body, turn.epoch)
        reply = PlanReply(plan_hash=stored.plan_hash, plan_markdown=stored.markdown)
        reach(Point.CONTROL_PLAN_WRITTEN)
    reach(Point.CONTROL_PLAN_COMMITTED)
    return reply


@router.post("/question")
def post_question(control: ControlDep, turn: TurnDep, body: Question) -> QuestionReply:
    """Ask; the session waits when the turn's process has ended."""
    with writing(control.engine) as db:
        ask_question(db, load_session(db, turn.session), body, turn.epoch, control.settings)
        answered = db.get(AnswerRow, (turn.session, body.question_id)) is not None
        reach(Point.CONTROL_QUESTION_WRITTEN)
    reach(Point.CONTROL_QUESTION_COMMITTED)
    return QuestionReply(question_id=body.question_id, answered=answered)


@router.get("/answers/{question_id}")
def read_answer(control: ControlDep, turn: TurnDep, question_id: str) -> Answer:
    """The answer in the inbox, or NOT_FOUND. A turn that has read the answer goes on: it no longer ends by asking."""
    with writing(control.engine) as db:
        answer = find_answer(db, turn.session, question_id)
        if answer is None:
            raise NotFound(f"Question {question_id[:80]!r} is not answered.")
        record = require_turn(db, load_session(db, turn.session), turn.epoch)
        if record.outcome == "asked" and record.question_id == question_id:
            record.outcome = None
            db.add(record)
    reach(Point.CONTROL_ANSWER_READ)
    return answer


@router.get("/cost")
def read_cost(control: ControlDep, turn: TurnDep) -> CostSummary:
    """What the session cost so far."""
    with reading(control.engine) as db:
        return spending.read_cost(db, turn.session)


@router.post("/stopJobs")
async def stop_jobs(control: ControlDep, turn: TurnDep, body: StopJobs) -> StoppedJobs:
    """Stop the session's own jobs, or those named: what failed, is stuck or lags behind must not go on costing.

    A runner may not cancel anything by itself; this can only end what its session pays for. What named ones were
    approved for and have not used is taken back. Another one than the session's own is not touched.
    """
    await run_in_threadpool(_check_turn, control, turn)
    handled = await cancel_jobs(control, reaper_of(turn.account), turn.session, body.jobs)
    if body.jobs:
        await run_in_threadpool(_take_back, control, turn, [job.name for job in handled])
    return StoppedJobs(jobs=handled)


def _take_back(control: Control, turn: Turn, names: list[str]) -> None:
    with writing(control.engine) as db:
        spending.end_grants(db, turn.session, names)


def _check_turn(control: Control, turn: Turn) -> None:
    with reading(control.engine) as db:
        require_turn(db, load_session(db, turn.session), turn.epoch)


@router.post("/finish")
def finish(control: ControlDep, turn: TurnDep, body: Finish) -> dict[str, str]:
    """Say how the work ended; the session moves when the process has exited."""
    with writing(control.engine) as db:
        record = require_turn(db, load_session(db, turn.session), turn.epoch)
        record.outcome, record.message = body.status, body.message
        db.add(record)
        reach(Point.CONTROL_FINISH_WRITTEN)
    reach(Point.CONTROL_FINISH_COMMITTED)
    return {}


def _describe(db: Session, settings: Settings, row: SessionRow, said: list[InstructionRow]) -> TurnContext:
    ratio = estimates.read_ratio(db, row.account)
    limit = row.spend_limit_micros
    return TurnContext(
        session=row.id,
        account=row.account,
        turn=row.turn,
        epoch=row.epoch,
        instruction=row.instruction,
        instructions=[TurnInstruction(text=item.text, time=item.time) for item in said],
        scope=row.scope,
        status=Status(row.status),
        budget_usd=None if limit is None else from_micros(limit),
        backend=settings.backend,
        public_url=settings.control_url,
        prices=load_gateway_prices(settings),
        grace_seconds=settings.job_grace_seconds,
        no_progress_seconds=settings.no_progress_seconds,
        estimate_ratio=ratio if ratio.runs else None,
        planner_models=list(settings.planner_models),
    )


def _session_changes(event: NewEvent) -> dict[str, str]:
    """What an event says about the session as a whole."""
    if event.type == "phase":
        if event.payload.get("phase") not in set(Phase) or event.payload.get("state") not in _PHASE_STATES:
            raise InvalidArgument("A phase event needs `phase` and `state` (started, completed, skipped).")
        return {"phase": str(event.payload["phase"])} if event.payload["state"] == "started" else {}
    if event.type in ("status_info", "report"):
        if not isinstance(event.payload.get("text"), str):
            raise InvalidArgument(f"A {event.type} event needs `text`.")
        return {"narrative": str(event.payload["text"])}
    return {}


_PHASE_STATES = frozenset({"started", "completed", "skipped"})
