"""What firectl shows of limits, ceilings, and of what is left running."""

import json

from sqlmodel import Session

from gateway.tables import ReservationRow
from pilotlight.database import open_engine
from tests.fixtures.command import CommandLine
from tests.fixtures.control import ControlServer

DEPLOYMENT = "accounts/acct/deployments/d"
CEILING = ("--auto-approve", "9.5", "--auto-approve-until", "2100-01-01T00:00:00Z")


def test_keys_have_limits_and_show_them(line: CommandLine, control: ControlServer):
    limits = ("--monthly-spend-limit", "20", "--session-spend-limit", "5")
    made = json.loads(line.read("api-key", "create", "--name", "night", *limits, "-o", "json"))
    assert (made["monthlySpendLimitUsd"], made["sessionSpendLimitUsd"]) == ("20.000000", "5.000000")
    listed = line.read("api-key", "list")
    assert {"Monthly Spend Limit Usd", "Session Spend Limit Usd", "Used This Month Usd"} <= {
        cell.strip() for cell in listed.splitlines()[0].split("  ")
    }
    assert "20.000000" in next(row for row in listed.splitlines() if made["keyId"] in row)
    own = {"FIREWORKS_API_KEY": made["key"]}
    who = line.read("whoami", variables=own).splitlines()
    assert {"Monthly Spend Limit Usd: 20.000000", "Used This Month Usd: 0.000000"} <= set(who)
    session = line.read("session", "create", "-n", "finish", variables=own).split()[-1]
    assert {f"Created Key: {made['keyId']}", "Spend Limit Usd: 5.000000"} <= set(
        line.read("session", "get", session).splitlines()
    )


def test_a_ceiling_is_set_and_shown_with_who_set_it(line: CommandLine, control: ControlServer):
    session = line.read("session", "create", "-n", "plan; finish", *CEILING).split()[-1]
    assert control.settle(session, "succeeded")["plan"]["approvedBy"] == "autoApprove, set by admin@acct"
    shown = [text.strip() for text in line.read("session", "get", session).splitlines()]
    assert {"Max Usd: 9.500000", "Set By: admin@acct", 'Kinds: ["plan_approval"]'} <= set(shown)
    assert "Running: nothing" in shown
    kinds = ("--auto-approve-kind", "plan_approval", "--auto-approve-kind", "promotion")
    body = line.read("session", "create", "-n", "x", *CEILING, *kinds, "--dry-run").partition("\n")[2]
    assert json.loads(body)["autoApprove"]["kinds"] == ["plan_approval", "promotion"]
    assert "belong together" in line.fail("session", "create", "-n", "x", "--auto-approve", "9", code=2)


def test_what_is_left_running_is_shown_with_what_it_can_still_cost(line: CommandLine, control: ControlServer):
    session = control.create("plan; finish")
    control.settle(session, "waiting")
    engine = open_engine(control.settings.control_database_url)
    left = ReservationRow(
        grant_id="g", session=session, account="acct", method="CreateDeployment", billing="deployment",
        resource=DEPLOYMENT, amount_micros=400_000, accrued_micros=100_000, hour_micros=100_000, replicas=2,
        confirmed=True, create_time="2026-11-25T00:00:00.000000Z", until="2100-01-01T00:00:00.000000Z",
    )  # fmt: skip
    with Session(engine) as db:
        db.add(left)
        db.commit()
    engine.dispose()
    lines = [text.strip() for text in line.read("session", "get", session).splitlines()]
    assert "May Still Cost: 0.300000" in lines
    until = "ends 2100-01-01 00:00:00 UTC at the latest"
    assert f"- {DEPLOYMENT}: $0.200000 per hour, {until}, can still cost at most $0.300000" in lines
    assert control.get(f"/{session}")["cost"]["running"][0]["mayStillCost"] == "0.300000"
