"""`firectl user`, `api-key`, `account`, `whoami` and `version`."""

import platform
from typing import Any

import click

from cli.commands.options import dry_run_option, list_options, output_option, read_list, show_request, with_connection
from cli.connection import Connection
from cli.output import show, show_list
from pilotlight import __version__


@click.group()
def user() -> None:
    """People and service accounts."""


@user.command("create")
@click.option("--user-id", required=True)
@click.option("--email")
@click.option("--display-name")
@click.option("--role", type=click.Choice(["admin", "user", "contributor", "inference-user"]), default="user")
@click.option("--service-account", is_flag=True, help="A program: API key only.")
@click.option("--permission-preset", type=click.Choice(["pilot"]), help="pilot: only what the agent's manifest allows.")
@output_option
@dry_run_option
@with_connection
def create_user(
    connection: Connection, user_id: str, service_account: bool, output: str, dry_run: bool, **options: Any
) -> None:
    """Create a user or, with --service-account, an identity for a program."""
    wire = {"email": "email", "display_name": "displayName", "role": "role", "permission_preset": "permissionPreset"}
    body: dict[str, Any] = {wire[name]: value for name, value in options.items() if value}
    if service_account:
        body["serviceAccount"] = True
    if dry_run:
        show_request("POST", f"{connection.path('users')}?userId={user_id}", body)
        return
    show(connection.post(connection.path("users"), body, userId=user_id), output)


@user.command("list")
@list_options
@with_connection
def list_users(connection: Connection, output: str, **options: Any) -> None:
    """List the account's users; --filter 'service_account=true' shows the programs."""
    columns = ("name", "role", "serviceAccount", "permissionPreset", "createTime")
    show_list(read_list(connection, connection.path("users"), "users", **options), output, columns)


@user.command("get")
@click.argument("user_id")
@output_option
@with_connection
def get_user(connection: Connection, user_id: str, output: str) -> None:
    """Show one user."""
    show(connection.get(connection.name(user_id, "users")), output)


@click.group("api-key")
def api_key() -> None:
    """Keys. A key is shown once, when it is made."""


@api_key.command("create")
@click.option("--service-account", "--user-id", "owner", help="Whose key; your own when left out.")
@click.option("--name", "--key-name", "name", default="", help="A display name.")
@click.option("--expire-time", help="RFC 3339; never when left out.")
@click.option("--monthly-spend-limit", metavar="USD", help="For all sessions of the key in a calendar month (UTC).")
@click.option("--session-spend-limit", metavar="USD", help="For each session that is started with the key.")
@output_option
@with_connection
def create_key(connection: Connection, owner: str | None, name: str, output: str, **options: str | None) -> None:
    """Make a key and print it, this once. Its limits are fixed; a key with a limit spends only inside sessions."""
    owner = _owner_id(connection, owner)
    wire = {
        "expire_time": "expireTime",
        "monthly_spend_limit": "monthlySpendLimitUsd",
        "session_spend_limit": "sessionSpendLimitUsd",
    }
    body = {"displayName": name} | {wire[option]: value for option, value in options.items() if value}
    made = connection.post(connection.path(f"users/{owner}/apiKeys"), {"apiKey": body})
    show(made, output)
    if output == "text":
        click.echo(
            "This key is shown only once. Keep it now, for example in .env as FIREWORKS_AGENT_API_KEY.", err=True
        )


@api_key.command("list")
@click.option("--service-account", "--user-id", "owner")
@list_options
@with_connection
def list_keys(connection: Connection, owner: str | None, output: str, **options: Any) -> None:
    """List keys, without their secrets."""
    owner = _owner_id(connection, owner)
    keys = read_list(connection, connection.path(f"users/{owner}/apiKeys"), "apiKeys", **options)
    columns = ("keyId", "displayName", "prefix", "createTime", "expireTime", "lastUsedTime")
    show_list(keys, output, (*columns, "usedThisMonthUsd", "monthlySpendLimitUsd", "sessionSpendLimitUsd"))


def _owner_id(connection: Connection, owner: str | None) -> str:
    return (owner or str(connection.get("/v1/whoami")["user"])).rsplit("/", 1)[-1]


@click.group()
def account() -> None:
    """The account."""


@account.command("get")
@output_option
@with_connection
def get_account(connection: Connection, output: str) -> None:
    """Show the account."""
    show(connection.get(f"/v1/accounts/{connection.account}"), output)


@click.command()
@output_option
@with_connection
def whoami(connection: Connection, output: str) -> None:
    """Show who the key is, and which server answers."""
    show({**connection.get("/v1/whoami"), "server": connection.url}, output)


@click.command()
@click.option("-l", "--long", "long_", is_flag=True)
def version(long_: bool) -> None:
    """Print the version."""
    click.echo(f"{__version__} (Python {platform.python_version()}, {platform.platform()})" if long_ else __version__)
