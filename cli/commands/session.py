"""`firectl session`: create, events, get, list, update, cancel, delete, cleanup."""

import sys
import uuid
from typing import Any

import click

from cli.commands.options import dry_run_option, list_options, output_option, read_list, show_request, with_connection
from cli.connection import Connection
from cli.event_text import format_event
from cli.feed import Feed, calm, footer
from cli.live import print_live
from cli.output import clean, show, show_list, to_json

_COLUMNS = ("sessionId", "status", "phase", "createTime", "instruction")
_FIELDS = (
    *("name", "status", "phase", "instruction", "createTime", "updateTime", "createdBy", "createdKey", "turn", "etag"),
    *("spendLimitUsd", "autoApprove"),
)
_KINDS = ("plan_approval", "promotion", "spend_increase")
scope_option = click.option("--scope", default="optimize", show_default=True, type=click.Choice(["optimize"]))
instruction_option = click.option("-n", "--instruction", help="What you want, in plain words.")


@click.group()
def session() -> None:
    """Start and steer fine-tuning sessions."""


@session.command()
@instruction_option
@scope_option
@click.option("--spend-limit", type=float, help="Hard cap in USD for the whole session.")
@click.option("--auto-approve", metavar="USD", help="Approve plans in advance, up to this for the whole session.")
@click.option("--auto-approve-until", metavar="TIME", help="RFC 3339: afterwards the session waits for a person.")
@click.option("--auto-approve-kind", "kinds", multiple=True, type=click.Choice(_KINDS),
              help="What it covers; only the plan when left out. May be given more than once.")  # fmt: skip
@click.option("--request-id", help="Repeating a request with the same ID returns the first reply.")
@output_option
@dry_run_option
@with_connection
def create(
    connection: Connection,
    instruction: str | None,
    scope: str,
    spend_limit: float | None,
    auto_approve: str | None,
    auto_approve_until: str | None,
    kinds: tuple[str, ...],
    request_id: str | None,
    output: str,
    dry_run: bool,
) -> None:
    """Start a session. Nothing is spent before you approve its plan."""
    if bool(auto_approve) != bool(auto_approve_until) or (kinds and not auto_approve):
        raise click.UsageError("--auto-approve USD and --auto-approve-until TIME belong together.")
    body: dict[str, Any] = {"instruction": _need(instruction), "scope": scope}
    body["requestId"] = request_id or str(uuid.uuid4())
    if spend_limit is not None:
        body["spendLimitUsd"] = str(spend_limit)
    if auto_approve:
        body["autoApprove"] = {"maxUsd": auto_approve, "expireTime": auto_approve_until}
        body["autoApprove"] |= {"kinds": list(kinds)} if kinds else {}
    if dry_run:
        show_request("POST", connection.path("sessions"), body)
        return
    created = connection.post(connection.path("sessions"), body)
    if output == "text":
        click.echo(f"Session ID: {created['sessionId']}")
    else:
        show(created, output)


@session.command()
@click.argument("session_id")
@click.option("-w", "--wait", is_flag=True, help="Stream until the session waits for you or ends.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only events after this sequence number.")
@scope_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="json: one event per line.")
@with_connection
def events(connection: Connection, session_id: str, wait: bool, after: int, scope: str, output: str) -> None:
    """Print what happened; with --wait, what happens."""
    feed = Feed(connection, session_id, after)
    try:
        _print_events(feed, wait, output)
    except KeyboardInterrupt:
        click.echo(f"\nStopped watching; the session goes on. Continue: `{_continue(feed)}`", err=True)
        sys.exit(130)
    if output == "text":
        click.echo(footer(feed.status))


def _print_events(feed: Feed, wait: bool, output: str) -> None:
    source = feed.follow() if wait else feed.existing()
    if output == "text" and wait and sys.stdout.isatty():
        print_live(source)
        return
    for event in source if output == "json" else calm(source):
        text = to_json(event, indent=None) if output == "json" else format_event(event)
        if text:
            click.echo(text)
            sys.stdout.flush()


def _continue(feed: Feed) -> str:
    return f"firectl session events {feed.session} --wait --after {feed.after}"


@session.command()
@click.argument("session_id")
@scope_option
@output_option
@with_connection
def get(connection: Connection, session_id: str, scope: str, output: str) -> None:
    """Show status, the open question, plan, cost and artifacts."""
    found = connection.get(connection.name(session_id, "sessions"))
    if output != "text":
        show(found, output)
        return
    click.echo(f"Session ID: {found['sessionId']}")
    show(found, "text", _FIELDS)
    if found["queuePosition"] is not None:
        show({"queuePosition": found["queuePosition"]}, "text")
    if question := found.get("question"):
        show({"question": f"{question['kind']} {question['questionId']}"}, "text")
    if plan := found.get("plan"):
        show({"planHash": plan["planHash"], "approvedBy": plan["approvedBy"], "estimatedUsd": plan["expectedUsd"],
              "atMostUsd": plan["highUsd"]}, "text")  # fmt: skip
    _show_cost(found["cost"])
    show({"ended": [f"{item['resource']} {item['reason']}" for item in found["cost"]["ended"]]}, "text")
    if allowance := found.get("plannerAllowance"):
        show({"plannerAllowance": {name: allowance[name] for name in ("limitUsd", "spentUsd", "open")}}, "text")
    show({"artifacts": [item["path"] for item in found["artifacts"]]}, "text")
    if found["statusInfo"]:
        show({"statusInfo": found["statusInfo"]}, "text")


@session.command("list")
@scope_option
@list_options
@with_connection
def list_(connection: Connection, scope: str, output: str, **options: Any) -> None:
    """List the account's sessions, newest first."""
    options["order_by"] = options["order_by"] or "createTime desc"
    show_list(read_list(connection, connection.path("sessions"), "sessions", **options), output, _COLUMNS)


@session.command()
@click.argument("session_id")
@instruction_option
@click.option("--question", help="The question's ID, for a structured answer.")
@click.option("--decision", type=click.Choice(["approve", "revise", "reject"]))
@click.option("--plan-hash", help="The plan you decided about; a changed plan is then refused.")
@click.option("--value", "values", multiple=True, metavar="FIELD=VALUE", help="A value of a question's field.")
@click.option("--request-id", help="Repeating a request with the same ID returns the first reply.")
@scope_option
@output_option
@dry_run_option
@with_connection
def update(
    connection: Connection,
    session_id: str,
    instruction: str | None,
    question: str | None,
    decision: str | None,
    plan_hash: str | None,
    values: tuple[str, ...],
    request_id: str | None,
    scope: str,
    output: str,
    dry_run: bool,
) -> None:
    """Answer a waiting session, or give a finished one new work."""
    body: dict[str, Any] = {"requestId": request_id or str(uuid.uuid4())}
    if decision or values:
        if not question:
            raise click.UsageError("--decision and --value need --question; `session get` shows its ID.")
        body["answer"] = {"questionId": question, "values": dict(_pair(value) for value in values)}
        body["answer"] |= {name: value for name, value in (("decision", decision), ("planHash", plan_hash)) if value}
        body["answer"] |= {"text": instruction} if instruction else {}
    else:
        body["instruction"] = _need(instruction)
        body |= {name: value for name, value in (("questionId", question), ("planHash", plan_hash)) if value}
    path = connection.name(session_id, "sessions") + ":update"
    if dry_run:
        show_request("POST", path, body)
        return
    updated = connection.post(path, body)
    if output == "text":
        click.echo(f"Session ID: {updated['sessionId']}")
        click.echo(f"Status: {updated['status']}")
    else:
        show(updated, output)


@session.command()
@click.argument("session_id")
@scope_option
@output_option
@dry_run_option
@with_connection
def cancel(connection: Connection, session_id: str, scope: str, output: str, dry_run: bool) -> None:
    """Stop a session and the jobs it started; its record stays."""
    path = connection.name(session_id, "sessions") + ":cancel"
    if dry_run:
        show_request("POST", path, {})
        return
    reply = connection.post(path, {})
    if output == "text":
        click.echo(f"Session ID: {reply['session']['sessionId']}")
        click.echo(f"Status: {reply['session']['status']}")
    else:
        show(reply, output)


@session.command()
@click.argument("session_id")
@scope_option
@dry_run_option
@with_connection
def delete(connection: Connection, session_id: str, scope: str, dry_run: bool) -> None:
    """Remove a session's record and workspace, for good. Its models and deployments stay."""
    path = connection.name(session_id, "sessions")
    if dry_run:
        show_request("DELETE", path, None)
        return
    connection.delete(path)
    click.echo(f"Deleted session {session_id}.")


@session.command()
@click.argument("session_id")
@click.option("--confirm", is_flag=True, help="Really remove; without it, only list.")
@output_option
@with_connection
def cleanup(connection: Connection, session_id: str, confirm: bool, output: str) -> None:
    """List what a session created; with --confirm, remove it and nothing else."""
    show(connection.post(connection.name(session_id, "sessions") + ":cleanup", {"confirm": confirm}), output)


def _show_cost(cost: dict[str, Any]) -> None:
    """What was spent, what is left running, and what that can still cost."""
    show({"cost": {name: cost[name] for name in ("soFar", "reserved", "approved", "mayStillCost")}}, "text")
    if not cost["running"]:
        click.echo("Running: nothing")
        return
    click.echo("Running:")
    for item in cost["running"]:
        until = f", ends {item['until'][:19].replace('T', ' ')} UTC at the latest" if item["until"] else ""
        rate = f"${item['usdPerHour']} per hour{until}"
        click.echo(f"  - {clean(item['resource'])}: {rate}, can still cost at most ${item['mayStillCost']}")


def _need(instruction: str | None) -> str:
    if not instruction or not instruction.strip():
        raise click.UsageError('Say what you want: -n "Run SFT on ember-1m using accounts/<account>/datasets/<id>".')
    return instruction


def _pair(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"--value {text!r} is not FIELD=VALUE.")
    return name, value
