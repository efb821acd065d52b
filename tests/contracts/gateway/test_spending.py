"""Not one unapproved cent: grants, reservations, replays, lost answers, limits."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlmodel import Session

from gateway import audit, grants
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import Aborted, FailedPrecondition
from pilotlight.plan import GrantSpec, Rule

JOBS = "/v1/accounts/acme/supervisedFineTuningJobs"
SESSION = "1779157376-41e1"


def rule_of(response: httpx.Response) -> str:
    return response.json()["error"]["details"][0]["reason"]


def test_nothing_is_spent_without_an_approval(bench: Any, chat_body: dict[str, Any]) -> None:
    assert rule_of(bench.create_job()) == "spend.no-grant"
    assert rule_of(bench.me.post("/v1/chat/completions", json=chat_body)) == "spend.no-grant"
    assert bench.platform.seen == []


def test_a_granted_call_reserves_and_is_forwarded(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    response = bench.create_job()
    assert response.status_code == 200
    cost = bench.cost()
    assert (cost.so_far, cost.reserved, cost.approved) == (Decimal(0), Decimal("0.10"), Decimal("0.10"))
    assert cost.running[0].resource == "accounts/acme/supervisedFineTuningJobs/ft-1"
    assert bench.told[-1].cost == Decimal("0.10")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"epochs": 2.0}, "body.epochs"),
        ({"epochs": "1.5"}, "body.epochs"),
        ({"loraRank": 16}, "body.loraRank"),
        ({"dataset": "accounts/acme/datasets/d2"}, "body.dataset"),
        ({"outputModel": "accounts/acme/models/out-2"}, "body.outputModel"),
        ({"baseModel": "accounts/fireworks/models/ember-1m"}, "body.baseModel"),
        ({"evalAutoCarveout": True}, "body.evalAutoCarveout"),
        ({"learningRate": 0.1}, "body.learningRate"),
        ({"nodes": 8}, "body.nodes"),
        ({"wandbConfig": {"enabled": True}}, "body.wandbConfig"),
    ],
)
def test_every_field_must_be_what_was_approved(bench: Any, job_grant: Any, changes: dict[str, Any], part: str) -> None:
    bench.approve(job_grant())
    response = bench.create_job(**changes)
    assert response.status_code in (400, 403)
    assert part in response.json()["error"]["message"]
    assert bench.platform.seen == []


def test_a_missing_field_is_a_default_nobody_approved(bench: Any, job_grant: Any, job_body: Any) -> None:
    bench.approve(job_grant())
    body = job_body()
    del body["epochs"]
    response = bench.me.post(
        JOBS, params={"supervisedFineTuningJobId": "ft-1"}, json=body, headers={"idempotency-key": "k"}
    )
    assert rule_of(response) == "spend.rules"


def test_spending_needs_a_key_and_an_id(bench: Any, job_grant: Any, job_body: Any) -> None:
    bench.approve(job_grant())
    named = {"supervisedFineTuningJobId": "ft-1"}
    assert "Idempotency-Key" in bench.me.post(JOBS, params=named, json=job_body()).json()["error"]["message"]
    response = bench.me.post(JOBS, json=job_body(), headers={"idempotency-key": "k"})
    assert "choose an ID" in response.json()["error"]["message"]


def test_the_number_of_calls_is_bounded(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant(max_calls=2))
    codes = [bench.create_job(number).status_code for number in (1, 2, 3)]
    assert codes == [200, 200, 429]
    assert bench.cost().reserved == Decimal("0.10")


def test_the_same_key_replays_and_another_digest_is_refused(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant(max_calls=2))
    first, again = bench.create_job(1), bench.create_job(1)
    assert (again.status_code, again.json()) == (200, first.json())
    assert len(bench.platform.seen) == 1
    assert bench.told[-1].replayed
    other = bench.create_job(2, key="job-1")
    assert (other.status_code, other.json()["error"]["status"]) == (409, "ABORTED")
    assert bench.cost().lines[0].calls == 1


def test_keys_of_one_session_say_nothing_about_another(bench: Any, job_grant: Any, session_principal: Any) -> None:
    bench.approve(job_grant())
    bench.create_job(1)
    grant, job = job_grant(), bench.platform.seen[0].json
    outputs = [job["outputModel"], "accounts/acme/models/out-2"]
    grant.rules["body.outputModel"] = Rule(one_of=outputs)
    bench.approve(grant, session="other-session")
    other = bench.serve(session_principal("other-session"))
    first, response = (
        other.post(
            JOBS,
            params={"supervisedFineTuningJobId": "ft-1"},
            json=job | {"outputModel": output},
            headers={"Idempotency-Key": "job-1"},
        )
        for output in outputs
    )
    assert first.status_code == 403
    assert "[rule created]" in first.json()["error"]["message"]
    assert response.status_code == 409
    assert response.json()["code"] == 6  # the platform's own ALREADY_EXISTS: never adopted across sessions


def test_a_lost_answer_keeps_its_reservation_and_is_found_again(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    bench.platform.fail_next, bench.platform.fail_after = 500, True
    assert bench.create_job().status_code == 500
    assert bench.cost().reserved == Decimal("0.10")
    again = bench.create_job()
    assert (again.status_code, again.json()["name"]) == (200, "accounts/acme/supervisedFineTuningJobs/ft-1")
    assert (bench.cost().reserved, bench.cost().lines[0].calls) == (Decimal("0.10"), 1)
    assert bench.create_job().json() == again.json()


def test_a_lost_answer_is_not_mixed_up_with_something_older(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    bench.platform.fail_next = 502
    assert bench.create_job().status_code == 502
    bench.platform.resources["accounts/acme/supervisedFineTuningJobs/ft-1"] = {
        "name": "accounts/acme/supervisedFineTuningJobs/ft-1",
        "createTime": "2026-01-01T00:00:00Z",
        **bench.platform.seen[0].json,
    }
    assert bench.create_job().status_code == 409
    fresh = {"createTime": to_rfc3339(now()), "epochs": 3}
    bench.platform.resources["accounts/acme/supervisedFineTuningJobs/ft-1"] |= fresh
    assert bench.create_job().status_code == 409
    bench.platform.resources["accounts/acme/supervisedFineTuningJobs/ft-1"]["epochs"] = 1.5
    assert bench.create_job().status_code == 200


def test_a_refusal_upstream_gives_everything_back(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    bench.platform.fail_next = 400
    assert bench.create_job().status_code == 400
    assert (bench.cost().reserved, bench.cost().lines[0].calls) == (Decimal(0), 0)
    assert bench.create_job().status_code == 200


def test_deployments_are_bounded_by_time_and_sleep_when_idle(bench: Any, deployment_grant: Any) -> None:
    bench.approve(deployment_grant())
    good: dict[str, Any] = {
        "baseModel": "accounts/acme/models/out-1",
        "minReplicaCount": 0,
        "maxReplicaCount": 1,
        "autoscalingPolicy": {"scaleToZeroWindow": "300s"},
    }

    def create(**changes: Any) -> httpx.Response:
        body = {key: value for key, value in (good | changes).items() if value != "absent"}
        params = {"deploymentId": "dep-1"}
        return bench.me.post(
            "/v1/accounts/acme/deployments", params=params, json=body, headers={"idempotency-key": "d"}
        )

    assert rule_of(create(autoscalingPolicy={"scaleToZeroWindow": "0s"})) == "spend.deployment"
    assert rule_of(create(autoscalingPolicy={"scaleToZeroWindow": "5m"})) == "spend.deployment"
    assert rule_of(create(autoscalingPolicy={})) == "spend.deployment"
    assert rule_of(create(minReplicaCount=1)) == "spend.rules"
    assert rule_of(create(minReplicaCount="absent")) == "spend.rules"
    assert rule_of(create(maxReplicaCount=0)) == "spend.deployment"
    assert rule_of(create(maxReplicaCount=2)) == "spend.exhausted"  # two replicas cost twice what was approved
    assert create().status_code == 200
    assert bench.cost().reserved == Decimal("0.20")
    assert bench.cost().running[0].usd_per_hour == Decimal("0.20")


def test_no_approval_keeps_a_replica_for_ever(bench: Any, deployment_grant: Any) -> None:
    """Not even a plan that asks for it: its hours would bound nothing."""
    spec = deployment_grant()
    bench.approve(spec.model_copy(update={"rules": spec.rules | {"body.minReplicaCount": Rule.exactly(1)}}))
    body = {
        "baseModel": "accounts/acme/models/out-1",
        "minReplicaCount": 1,
        "maxReplicaCount": 1,
        "autoscalingPolicy": {"scaleToZeroWindow": "300s"},
    }
    answer = bench.me.post(
        "/v1/accounts/acme/deployments", params={"deploymentId": "dep-1"}, json=body, headers={"idempotency-key": "d"}
    )
    assert rule_of(answer) == "spend.deployment"
    assert bench.platform.targets() == []


def test_inference_is_counted(bench: Any, chat_body: dict[str, Any]) -> None:
    bench.approve(bench.chat_grant(max_calls=3))
    answers = [bench.me.post("/v1/chat/completions", json=chat_body).status_code for _ in range(4)]
    assert answers == [200, 200, 200, 429]
    for change in ({"max_tokens": 65}, {"n": 4}, {"model": "accounts/acme/deployments/e"}, {"service_tier": "x"}):
        response = bench.me.post("/v1/chat/completions", json=chat_body | change)
        assert rule_of(response) == "spend.rules"
    long = {"messages": [{"role": "user", "content": "x" * 2000}]}
    assert rule_of(bench.me.post("/v1/chat/completions", json=chat_body | long)) == "spend.rules"
    assert bench.me.post("/v1/chat/completions", json=chat_body | {"temperature": 0.5}).status_code == 429


def test_approvals_bind_to_their_session_plan_and_time(bench: Any, job_grant: Any, plan_of: Any) -> None:
    plan = plan_of([job_grant()], expires=datetime.now(UTC) + timedelta(seconds=0.6))
    with Session(bench.engine) as db, db.begin():
        with pytest.raises(Aborted):
            grants.write(db, "foreign", plan, "plan_approval", "ann")
        assert grants.write(db, SESSION, plan, "promotion", "ann") == []
        first = grants.write(db, SESSION, plan, "plan_approval", "ann")
        assert grants.write(db, SESSION, plan, "plan_approval", "ann") == first
    import time

    time.sleep(0.7)
    assert rule_of(bench.create_job()) == "spend.expired"
    with Session(bench.engine) as db, db.begin(), pytest.raises(FailedPrecondition):
        grants.write(db, SESSION, plan, "plan_approval", "ann")


def test_a_new_plan_takes_the_old_grants_away(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant(max_calls=5))
    assert bench.create_job(1).status_code == 200
    bench.approve(job_grant(name="c2", max_cost="0.03"), note="revised")
    assert bench.create_job(2).status_code == 200
    cost = bench.cost()
    assert cost.reserved == Decimal("0.05")  # 0.10 / 5 of the first, 0.03 of the second
    assert cost.approved == Decimal("0.05")


def test_revoked_sessions_spend_no_more(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant(max_calls=2))
    bench.create_job(1)
    with Session(bench.engine) as db, db.begin():
        assert grants.revoke(db, SESSION) == 1
    assert rule_of(bench.create_job(2)) == "spend.no-grant"
    assert bench.cost().reserved == Decimal("0.05")


def test_the_session_limit_caps_plans_and_calls(bench: Any, job_grant: Any, plan_of: Any) -> None:
    with Session(bench.engine) as db, db.begin():
        grants.set_limit(db, SESSION, Decimal("0.08"))
        with pytest.raises(FailedPrecondition, match="limit"):
            grants.write(db, SESSION, plan_of([job_grant()]), "plan_approval", "ann")
        grants.write(db, SESSION, plan_of([job_grant(max_calls=2, max_cost="0.08")]), "plan_approval", "ann")
        grants.set_limit(db, SESSION, Decimal("0.05"))
    assert [bench.create_job(number).status_code for number in (1, 2)] == [200, 429]


def test_a_grant_for_a_free_method_is_refused(bench: Any, job_grant: Any, plan_of: Any) -> None:
    spec = GrantSpec.model_validate(
        job_grant().model_dump() | {"method": "DeleteModel", "rules": {"a": Rule(minimum=0)}}
    )
    with Session(bench.engine) as db, db.begin(), pytest.raises(Exception, match="DeleteModel"):
        grants.write(db, SESSION, plan_of([spec]), "plan_approval", "ann")


def test_refused_spend_is_audited_too(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    bench.create_job(epochs=9)
    bench.create_job()
    with bench.engine.connect() as db:
        rows = db.exec_driver_sql("SELECT verdict, rule FROM gateway_audit ORDER BY seq").all()
    assert [tuple(row) for row in rows] == [("approved", "grants"), ("denied", "spend.rules"), ("allowed", "allowed")]
    assert audit.verify(bench.engine).intact
