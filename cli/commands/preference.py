"""`firectl dpoj`: preference jobs, DPO and ORPO [F10, P59]."""

from typing import Any

import click

from cli.commands.resources import add_act, job_options, make_group, name_fields, submit_job
from cli.connection import Connection

_COLLECTION = "dpoJobs"

dpoj = make_group("dpoj", "Preference jobs: DPO and ORPO.", _COLLECTION, ("name", "state", "dataset", "createTime"))
add_act(dpoj, "cancel", _COLLECTION, "Stop a job; its last checkpoint stays.")
add_act(dpoj, "resume", _COLLECTION, "Continue a stopped job from its checkpoint.")


@dpoj.command("create")
@click.option("--evaluation-dataset", help="Held-out pairs; a local extension.")
@click.option("--method", type=click.Choice(["DPO", "ORPO"]), default="DPO", show_default=True)
@click.option("--beta", type=float, help="DPO: how strongly to hold to the base model. ORPO: weight of the odds ratio.")
@job_options
def create_job(
    connection: Connection,
    output: str,
    dry_run: bool,
    job_id: str | None,
    method: str,
    beta: float | None,
    **options: Any,
) -> None:
    """Submit a job yourself, without the agent."""
    body = _body(method, beta, name_fields(connection, options))
    submit_job(connection, _COLLECTION, body, output, dry_run, dpoJobId=job_id)


def _body(method: str, beta: float | None, fields: dict[str, Any]) -> dict[str, Any]:
    """The request as the platform's API takes it: hyper-parameters apart from the data and the loss."""
    strength = {} if beta is None else {"dpo": {"beta": beta}} if method == "DPO" else {"klBeta": beta}
    data = {name: fields.pop(name) for name in ("dataset", "evaluationDataset") if name in fields}
    return {**data, "lossConfig": {"method": method, **strength}, "trainingConfig": fields}
