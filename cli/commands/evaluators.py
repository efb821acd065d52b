"""`firectl evaluator` and `firectl evaluation-job`: code that scores answers, and datasets scored by it [P99-P103]."""

import time
from pathlib import Path
from typing import Any

import click
import httpx

from cli.commands.options import dry_run_option, output_option, show_request, with_connection
from cli.commands.resources import add_act, make_group
from cli.connection import Connection, refused, unreachable
from cli.output import show
from pilotlight.errors import PilotlightError
from pilotlight.names import check_id
from pilotlight.sources import ARCHIVE, pack, unpack

_EVALUATORS, _JOBS = "evaluators", "evaluationJobs"
_BUILD_SECONDS = 600

evaluator = make_group("evaluator", "Code that scores answers.", _EVALUATORS, ("name", "state", "createTime"))
add_act(evaluator, "delete", _EVALUATORS, "Delete an evaluator, with your own rights.")
evaluation_job = make_group(
    "evaluation-job", "Datasets scored by an evaluator.", _JOBS, ("name", "state", "evaluator", "createTime")
)
add_act(evaluation_job, "delete", _JOBS, "Delete an evaluation job; its output dataset stays.")


@evaluator.command("create")
@click.argument("evaluator_id")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--entry-point", help="file.py::function; evaluator.py, or the only file, when left out.")
@click.option("--requirements", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="requirements.txt.")
@click.option("--display-name")
@click.option("--description")
@output_option
@dry_run_option
@with_connection
def create_evaluator(
    connection: Connection,
    evaluator_id: str,
    path: Path,
    entry_point: str | None,
    requirements: Path | None,
    display_name: str | None,
    description: str | None,
    output: str,
    dry_run: bool,
) -> None:
    """Upload a Python file or a folder as a new evaluator, and wait until it is built."""
    check_id(evaluator_id, "evaluator ID")
    fields = {
        "displayName": display_name,
        "description": description,
        "entryPoint": entry_point,
        "requirements": requirements.read_text("utf-8") if requirements else None,
    }
    body = {"evaluatorId": evaluator_id, "evaluator": {key: value for key, value in fields.items() if value}}
    archive = _archive(path)
    if dry_run:
        show_request("POST", connection.path("evaluatorsV2"), body)
        return
    connection.post(connection.path("evaluatorsV2"), body)
    resource = connection.path(f"{_EVALUATORS}/{evaluator_id}")
    reply = connection.post(f"{resource}:getUploadEndpoint", {"filenameToSize": {ARCHIVE: str(len(archive))}})
    _put(reply["filenameToSignedUrls"][ARCHIVE], archive)
    connection.post(f"{resource}:validateUpload", {})
    built = _wait(connection, resource)
    if built.get("state") != "ACTIVE":
        reason: dict[str, Any] = built.get("status") or {}
        raise click.ClickException(
            f"The evaluator is {built.get('state')}: {reason.get('message', '')} "
            f"Its log: `firectl evaluator log {evaluator_id}`."
        )
    show(built, output)


@evaluator.command("log")
@click.argument("evaluator_id")
@with_connection
def show_build_log(connection: Connection, evaluator_id: str) -> None:
    """Print the log of the last build."""
    _print_log(connection, connection.name(evaluator_id, _EVALUATORS) + ":getBuildLogEndpoint", "buildLogSignedUri")


@evaluator.command("download")
@click.argument("evaluator_id")
@click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path), default=Path())
@with_connection
def download_source(connection: Connection, evaluator_id: str, output_dir: Path) -> None:
    """Write the source files of an evaluator into a folder."""
    found = connection.get(connection.name(evaluator_id, _EVALUATORS) + ":getSourceCodeSignedUrl")
    for url in found["filenameToSignedUrls"].values():
        for name, text in unpack(_read(url)).items():
            target = output_dir / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
            click.echo(str(target))


@evaluation_job.command("create")
@click.option("--evaluator", "evaluator_name", required=True)
@click.option("--input-dataset", required=True, help="Rows that end with the answers to score.")
@click.option("--output-dataset", required=True, help="A new dataset: the same rows with their scores.")
@click.option("--job-id")
@click.option("--display-name")
@output_option
@dry_run_option
@with_connection
def create_job(
    connection: Connection,
    evaluator_name: str,
    input_dataset: str,
    output_dataset: str,
    job_id: str | None,
    display_name: str | None,
    output: str,
    dry_run: bool,
) -> None:
    """Score the answers in a dataset."""
    job = {
        "evaluator": _full(connection, evaluator_name, _EVALUATORS),
        "inputDataset": _full(connection, input_dataset, "datasets"),
        "outputDataset": _full(connection, output_dataset, "datasets"),
        **({"displayName": display_name} if display_name else {}),
    }
    body = {"evaluationJob": job, **({"evaluationJobId": job_id} if job_id else {})}
    if dry_run:
        show_request("POST", connection.path(_JOBS), body)
        return
    show(connection.post(connection.path(_JOBS), body), output)


@evaluation_job.command("log")
@click.argument("job_id")
@with_connection
def show_job_log(connection: Connection, job_id: str) -> None:
    """Print what the evaluator printed."""
    _print_log(connection, connection.name(job_id, _JOBS) + ":getExecutionLogEndpoint", "executionLogSignedUri")


def _print_log(connection: Connection, endpoint: str, field: str) -> None:
    click.echo(_read(connection.get(endpoint).get(field)).decode("utf-8", "replace"), nl=False)


def _archive(path: Path) -> bytes:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    root = path.parent if path.is_file() else path
    names = [file.relative_to(root) for file in files]
    visible = [name for name in names if not any(part.startswith((".", "__pycache__")) for part in name.parts)]
    try:
        data = pack({name.as_posix(): (root / name).read_text("utf-8") for name in visible})
        unpack(data)
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{path} has a file that is not text in UTF-8 ({error}). Leave it out.") from error
    except PilotlightError as error:
        raise click.ClickException(str(error)) from error
    return data


def _put(url: str, content: bytes) -> None:
    headers = {"X-Goog-Content-Length-Range": f"{len(content)},{len(content)}"}
    try:
        response = httpx.put(url, content=content, headers=headers, timeout=60)
    except httpx.TransportError as error:
        raise unreachable(url.split("?")[0], error) from error
    if response.is_error:
        raise refused(response)


def _read(url: Any) -> bytes:
    if not url:
        raise click.ClickException("There is no log yet. Ask again when it has run.")
    try:
        response = httpx.get(str(url), timeout=60)
    except httpx.TransportError as error:
        raise unreachable(str(url).split("?")[0], error) from error
    if response.is_error:
        raise refused(response)
    return response.content


def _wait(connection: Connection, resource: str) -> dict[str, Any]:
    deadline = time.monotonic() + _BUILD_SECONDS
    while (found := connection.get(resource)).get("state") == "BUILDING":
        if time.monotonic() > deadline:
            raise click.ClickException("Evaluator build timed out after 10 minutes")
        time.sleep(0.5)
    return found


def _full(connection: Connection, value: str, collection: str) -> str:
    return value if value.startswith("accounts/") else f"accounts/{connection.account}/{collection}/{value}"
