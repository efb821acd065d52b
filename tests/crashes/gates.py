"""No gate is passed without its own answer, given by the client, and for the plan that it was asked about."""

import json
from collections.abc import Iterator

from tests.crashes.case import Case, Json

_KINDS = {"plan_approval": ("plan_approval", "spend_increase"), "promotion": ("promotion",)}


def check_gates(case: Case) -> Iterator[str]:
    """Every answer was acknowledged to the client, once; every grant and every phase behind a gate has its answer."""
    for row in case.tables["sessions"]:
        session = row["id"]
        if session in case.log.created:
            yield from _check_answers(case, session)
        yield from _check_grants(case, session)
        yield from _check_order(session, case.events(session))


def _check_answers(case: Case, session: str) -> Iterator[str]:
    taken: dict[str, set[str]] = {}
    for update in case.log.updates:
        if update["session"] != session or update["questionId"] is None:
            continue
        if update["code"] == 200:
            taken.setdefault(update["questionId"], set()).add(update["requestId"])
            if update["requestId"].endswith("stale"):
                yield f"{session} {update['questionId']}: an answer to a plan that never was is taken"
    stored = {row["question_id"] for row in case.rows("answers", session)}
    for question, requests in taken.items():
        if len(requests) > 1:
            yield f"{session} {question}: answered by {sorted(requests)}"
        if question not in stored:
            yield f"{session} {question}: its answer was acknowledged and is lost"
    yield from (f"{session} {question}: an answer that nobody gave" for question in sorted(stored - taken.keys()))


def _check_grants(case: Case, session: str) -> Iterator[str]:
    questions = {row["question_id"]: row for row in case.rows("questions", session)}
    approved: set[tuple[str, str]] = set()
    for row in case.rows("answers", session):
        question, answer = questions.get(row["question_id"]), json.loads(row["document"])
        if question is None:
            yield f"{session} {row['question_id']}: an answer to no question"
        elif answer.get("decision") == "approve":
            if answer.get("planHash") != question["plan_hash"]:
                yield f"{session} {row['question_id']}: approves {answer.get('planHash')}, not {question['plan_hash']}"
            approved.add((question["kind"], str(question["plan_hash"])))
    for grant in case.rows("gateway_grants", session):
        if not any((kind, grant["plan_hash"]) in approved for kind in _KINDS[grant["gate"]]):
            yield f"{session} {grant['spec']}: granted without an approval of {grant['plan_hash'][:12]}"


def _check_order(session: str, events: list[Json]) -> Iterator[str]:
    """The sweep after the approval of the plan asked about last; what follows a sweep after its promotion."""
    asked: dict[str, Json] = {}
    plan = promotion = swept = False
    for event in events:
        payload = event["payload"]
        if event["type"] == "question":
            asked[payload["questionId"]] = payload
            plan = plan and payload["kind"] not in ("plan_approval",)
        elif event["type"] == "answer" and payload.get("questionId"):
            question = asked.get(payload["questionId"])
            if question is None:
                yield f"{session}: event {event['seq']} answers {payload['questionId']}, which was not asked"
            elif payload.get("decision") == "approve":
                same = payload.get("planHash") == question.get("planHash")
                plan = plan or (question["kind"] == "plan_approval" and same)
                promotion = promotion or (question["kind"] == "promotion" and same)
        elif event["type"] == "phase" and payload["state"] == "started":
            swept = swept or payload["phase"] == "sweep"
            if payload["phase"] in ("sweep", "train", "evaluate", "deploy") and not plan:
                yield f"{session}: {payload['phase']} began without an approved plan"
            if payload["phase"] in ("train", "evaluate", "deploy") and swept and not promotion:
                yield f"{session}: {payload['phase']} began without a promotion"
