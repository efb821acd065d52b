"""`firectl dpoj`: preference jobs, DPO and ORPO [F10, P59]."""

from typing import Any

import click

from cli.commands.options import dry_run_option, output_option, show_request, with_connection
from cli.commands.resources import add_act, full_name, make_group
from cli.connection import Connection
from cli.output import show

_COLLECTION = "dpoJobs"
_MODELS = ("base_model", "warm_start_from", "output_model")

dpoj = make_group("dpoj", "Preference jobs: DPO and ORPO.", _COLLECTION, ("name", "state", "dataset", "createTime"))
add_act(dpoj, "cancel", _COLLECTION, "Stop a job; its last checkpoint stays.")
add_act(dpoj, "resume", _COLLECTION, "Continue a stopped job from its checkpoint.")


@dpoj.command("create")
@click.option("--base-model", help="Short ID or full name.")
@click.option("--warm-start-from")
@click.option("--dataset", required=True)
@click.option("--output-model")
@click.option("--job-id")
@click.option("--evaluation-dataset", help="Held-out pairs; a local extension.")
@click.option("--method", type=click.Choice(["DPO", "ORPO"]), default="DPO", show_default=True)
@click.option("--beta", type=float, help="DPO: how strongly to hold to the base model. ORPO: weight of the odds ratio.")
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
    body = _body(connection, {name: value for name, value in options.items() if value is not None})
    path = connection.path(_COLLECTION)
    if dry_run:
        show_request("POST", path, body)
        return
    show(connection.post(path, body, dpoJobId=job_id), output)


def _body(connection: Connection, options: dict[str, Any]) -> dict[str, Any]:
    """The request as the platform's API takes it: hyper-parameters apart from the data and the loss."""
    method, beta = options.pop("method"), options.pop("beta", None)
    strength = {} if beta is None else {"dpo": {"beta": beta}} if method == "DPO" else {"klBeta": beta}
    data = {name: options.pop(name) for name in ("dataset", "evaluation_dataset") if name in options}
    return {
        **{_wire(name): full_name(connection, name, value, "datasets") for name, value in data.items()},
        "lossConfig": {"method": method, **strength},
        "trainingConfig": {
            _wire(name): full_name(connection, name, value, "models") if name in _MODELS else value
            for name, value in options.items()
        },
    }


def _wire(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)
