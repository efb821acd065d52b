"""`firectl model`, `sftj` and `deployment`: what exists on the platform."""

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
@click.option("--base-model", help="Short ID or full name.")
@click.option("--warm-start-from")
@click.option("--dataset", required=True)
@click.option("--output-model")
@click.option("--job-id")
@click.option("--evaluation-dataset")
@click.option("--epochs", type=float)
@click.option("--learning-rate", type=float)
@click.option("--learning-rate-warmup-steps", type=int)
@click.option("--gradient-accumulation-steps", type=int)
@click.option("--lora-rank", type=int)
@click.option("--batch-size", type=int, help="Tokens per step.")
@click.option("--max-context-length", type=int)
@output_option
@dry_run_option
@with_connection
def create_job(connection: Connection, output: str, dry_run: bool, job_id: str | None, **options: Any) -> None:
    """Submit a job yourself, without the agent."""
    collections = {"base_model": "models", "warm_start_from": "models", "output_model": "models",
                   "dataset": "datasets", "evaluation_dataset": "datasets"}  # fmt: skip
    body: dict[str, Any] = {}
    for name, value in options.items():
        if value is not None:
            head, *rest = name.split("_")
            wire = head + "".join(part.title() for part in rest)
            body[wire] = full_name(connection, name, value, collections[name]) if name in collections else value
    if dry_run:
        show_request("POST", connection.path("supervisedFineTuningJobs"), body)
        return
    path = connection.path("supervisedFineTuningJobs")
    show(connection.post(path, body, supervisedFineTuningJobId=job_id), output)


def full_name(connection: Connection, option: str, value: str, collection: str) -> str:
    """The resource name for a short ID: base models are the catalogue's, all else is the account's."""
    if value.startswith("accounts/"):
        return value
    account = "fireworks" if option == "base_model" else connection.account
    return f"accounts/{account}/{collection}/{value}"
