"""`firectl model`, `sftj` and `deployment`: what exists on the platform."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from cli.commands.options import dry_run_option, list_options, output_option, read_list, show_request, with_connection
from cli.connection import Connection
from cli.output import show, show_list


def make_group(name: str, text: str, collection: str, columns: tuple[str, ...]) -> click.Group:
    """A noun with `get` and `list`."""
    group = click.Group(name, help=text)

    @group.command("get")
    @click.argument("resource_id")
    @output_option
    @with_connection
    def get(connection: Connection, resource_id: str, output: str) -> None:
        """Show one."""
        show(connection.get(connection.name(resource_id, collection)), output)

    @group.command("list")
    @list_options
    @with_connection
    def list_(connection: Connection, output: str, **options: Any) -> None:
        """List the account's."""
        show_list(read_list(connection, connection.path(collection), collection, **options), output, columns)

    del get, list_
    return group


def add_act(group: click.Group, verb: str, collection: str, text: str) -> None:
    """A verb on one resource: `delete`, or a custom verb without a body."""

    @group.command(verb, help=text)
    @click.argument("resource_id")
    @dry_run_option
    @with_connection
    def act(connection: Connection, resource_id: str, dry_run: bool) -> None:
        path = connection.name(resource_id, collection)
        if dry_run:
            show_request("DELETE" if verb == "delete" else "POST", path if verb == "delete" else f"{path}:{verb}", None)
            return
        if verb == "delete":
            connection.delete(path)
        else:
            connection.post(f"{path}:{verb}", {})
        click.echo(f"{verb}: {resource_id}")

    del act


_COLLECTIONS = {
    "base_model": "models",
    "warm_start_from": "models",
    "output_model": "models",
    "dataset": "datasets",
    "evaluation_dataset": "datasets",
}
_JOB_OPTIONS = (
    click.option("--base-model", help="Short ID or full name."),
    click.option("--warm-start-from"),
    click.option("--dataset", required=True),
    click.option("--output-model"),
    click.option("--job-id"),
    click.option("--epochs", type=float),
    click.option("--learning-rate", type=float),
    click.option("--learning-rate-warmup-steps", type=int),
    click.option("--gradient-accumulation-steps", type=int),
    click.option("--lora-rank", type=int),
    click.option("--batch-size", type=int, help="Tokens per step."),
    click.option("--max-context-length", type=int),
    output_option,
    dry_run_option,
    with_connection,
)


def job_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every kind of training job has."""
    for option in reversed(_JOB_OPTIONS):
        command = option(command)
    return command


def name_fields(connection: Connection, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that were given, by their names on the wire; resources by their full names."""
    return {
        _wire(name): full_name(connection, name, value, _COLLECTIONS[name]) if name in _COLLECTIONS else value
        for name, value in options.items()
        if value is not None
    }


def submit_job(
    connection: Connection, collection: str, body: dict[str, Any], output: str, dry_run: bool, **query: Any
) -> None:
    """Create a training job and show it, or show the request only."""
    path = connection.path(collection)
    if dry_run:
        show_request("POST", path, body)
        return
    show(connection.post(path, body, **query), output)


model = make_group("model", "Base models and tuned models.", "models", ("name", "kind", "state", "createTime"))
sftj = make_group(
    "sftj",
    "Supervised fine-tuning jobs.",
    "supervisedFineTuningJobs",
    ("name", "state", "baseModel", "outputModel", "createTime"),
)
deployment = make_group(
    "deployment", "Deployments.", "deployments", ("name", "state", "baseModel", "readyReplicaCount", "createTime")
)

add_act(sftj, "cancel", "supervisedFineTuningJobs", "Stop a job; its last checkpoint stays.")
add_act(sftj, "resume", "supervisedFineTuningJobs", "Continue a stopped job from its checkpoint.")
add_act(deployment, "delete", "deployments", "Delete a deployment, with your own rights.")


@sftj.command("create")
@click.option("--evaluation-dataset")
@job_options
def create_job(connection: Connection, output: str, dry_run: bool, job_id: str | None, **options: Any) -> None:
    """Submit a job yourself, without the agent."""
    body = name_fields(connection, options)
    submit_job(connection, "supervisedFineTuningJobs", body, output, dry_run, supervisedFineTuningJobId=job_id)


def full_name(connection: Connection, option: str, value: str, collection: str) -> str:
    """The resource name for a short ID: base models are the catalogue's, all else is the account's."""
    if value.startswith("accounts/"):
        return value
    account = "fireworks" if option == "base_model" else connection.account
    return f"accounts/{account}/{collection}/{value}"


def _wire(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)
