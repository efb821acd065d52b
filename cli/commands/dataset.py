"""`firectl dataset`: create from a file, get, list, download, delete."""

from pathlib import Path
from typing import Any

import click
import httpx

from cli.commands.options import dry_run_option, list_options, output_option, read_list, show_request, with_connection
from cli.connection import Connection, refused, unreachable
from cli.output import show, show_list
from pilotlight.names import check_id

_COLUMNS = ("name", "state", "exampleCount", "createTime")
_MULTIPART_LIMIT = 150 * 1000 * 1000
"""Larger files go through a signed URL [P39]."""


@click.group()
def dataset() -> None:
    """Upload and look at training data."""


@dataset.command()
@click.argument("arguments", nargs=-1, required=True, metavar="[ID] FILE")
@click.option("--display-name")
@output_option
@dry_run_option
@with_connection
def create(
    connection: Connection, arguments: tuple[str, ...], display_name: str | None, output: str, dry_run: bool
) -> None:
    """Upload a JSONL file as a new dataset; without an ID, the file's name gives it."""
    if not 1 <= len(arguments) <= 2:
        raise click.UsageError("Give an ID and a file, or only a file.")
    path = Path(list(arguments)[-1])
    if not path.is_file():
        raise click.ClickException(f"No file {path}. Give the path of a JSONL file, one chat per line.")
    identity = arguments[0] if len(arguments) == 2 else _id_from(path)
    check_id(identity, "dataset ID")
    body = {"datasetId": identity, "dataset": {"userUploaded": {}, "format": "CHAT"}}
    if display_name:
        body["dataset"] = {**body["dataset"], "displayName": display_name}  # type: ignore[dict-item]
    if dry_run:
        show_request("POST", connection.path("datasets"), body)
        return
    connection.post(connection.path("datasets"), body)
    try:
        _upload(connection, identity, path)
    except KeyboardInterrupt:
        connection.delete(connection.path(f"datasets/{identity}"))
        raise
    except click.ClickException as error:
        connection.delete(connection.path(f"datasets/{identity}"))
        raise click.ClickException(
            f"{error.message} The dataset was not created; correct the file and try again."
        ) from error
    show(connection.get(connection.path(f"datasets/{identity}")), output)


@dataset.command()
@click.argument("dataset_id")
@output_option
@with_connection
def get(connection: Connection, dataset_id: str, output: str) -> None:
    """Show one dataset."""
    show(connection.get(connection.name(dataset_id, "datasets")), output)


@dataset.command("list")
@list_options
@with_connection
def list_(connection: Connection, output: str, **options: Any) -> None:
    """List the account's datasets."""
    show_list(read_list(connection, connection.path("datasets"), "datasets", **options), output, _COLUMNS)


@dataset.command()
@click.argument("dataset_id")
@click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path), default=Path())
@with_connection
def download(connection: Connection, dataset_id: str, output_dir: Path) -> None:
    """Download a dataset's files."""
    urls = connection.get(connection.name(dataset_id, "datasets") + ":getDownloadEndpoint")["filenameToSignedUrls"]
    output_dir.mkdir(parents=True, exist_ok=True)
    for name, url in urls.items():
        target = output_dir / Path(name).name
        try:
            with httpx.stream("GET", url, timeout=60) as response, target.open("wb") as file:
                if response.is_error:
                    raise refused(response)
                for chunk in response.iter_bytes():
                    file.write(chunk)
        except httpx.TransportError as error:
            raise unreachable(url.split("?")[0], error) from error
        click.echo(str(target))


@dataset.command()
@click.argument("dataset_id")
@dry_run_option
@with_connection
def delete(connection: Connection, dataset_id: str, dry_run: bool) -> None:
    """Delete a dataset, with your own rights."""
    path = connection.name(dataset_id, "datasets")
    if dry_run:
        show_request("DELETE", path, None)
        return
    connection.delete(path)
    click.echo(f"Deleted dataset {dataset_id}.")


def _id_from(path: Path) -> str:
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0].lower()
    return "".join(character if character.isascii() and character.isalnum() else "-" for character in name).strip("-")


def _upload(connection: Connection, identity: str, path: Path) -> None:
    resource = connection.path(f"datasets/{identity}")
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _MULTIPART_LIMIT:
            connection.upload(f"{resource}:upload", path.name, file)
        else:
            reply = connection.post(f"{resource}:getUploadEndpoint", {"filenameToSize": {path.name: str(size)}})
            headers = {"Content-Type": "application/octet-stream", "X-Goog-Content-Length-Range": f"{size},{size}"}
            response = httpx.put(reply["filenameToSignedUrls"][path.name], content=file, headers=headers, timeout=None)
            if response.is_error:
                raise refused(response)
    connection.post(f"{resource}:validateUpload", {})
