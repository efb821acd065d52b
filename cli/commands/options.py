"""Options that several commands share, and the way to the connection."""

from collections.abc import Callable
from typing import Any

import click

from cli.connection import Connection
from cli.output import FORMATS, to_json

Command = Callable[..., Any]

with_connection = click.make_pass_decorator(Connection)
output_option = click.option(
    "-o", "--output", type=FORMATS, default="text", help="text, json, or flag (the bare name)."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Print the request and do nothing.")


def list_options(command: Command) -> Command:
    """The flags of every list command [F4]."""
    for option in (
        click.option("--filter", "filter_", help="AIP-160, such as 'state=\"READY\"'."),
        click.option("--order-by", help="Field names, each with an optional ' desc'."),
        click.option("--page-size", type=click.IntRange(1, 200)),
        click.option("--page-token"),
        click.option("--no-paginate", is_flag=True, help="Only one page."),
        output_option,
    ):
        command = option(command)
    return command


def read_list(connection: Connection, path: str, collection: str, **options: Any) -> list[dict[str, Any]]:
    """Run a list command's request or requests."""
    query = {
        "filter": options["filter_"],
        "orderBy": options["order_by"],
        "pageSize": options["page_size"],
        "pageToken": options["page_token"],
    }
    if options["no_paginate"]:
        return connection.get(path, **query).get(collection, [])
    return list(connection.pages(path, collection, **query))


def show_request(method: str, path: str, body: Any) -> None:
    """What --dry-run prints."""
    click.echo(f"{method} {path}\n{to_json(body)}")
