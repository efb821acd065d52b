"""Printed forms: `Field Name: value` lines, tables for lists, JSON, and bare names for scripts."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

FORMATS = click.Choice(["text", "json", "flag"])
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Terminal controls, and what Unicode has to hide text or to turn its order; joiners stay: scripts need them."""


def clean(text: str) -> str:
    """Text without control and hidden characters: nothing from a server may move the cursor or mislead the eye."""
    return _CONTROL.sub("", text)


def to_json(value: Any, indent: int | None = 2) -> str:
    """JSON of the same value, with control and hidden characters escaped."""
    return _CONTROL.sub(_escape, json.dumps(value, indent=indent, ensure_ascii=False))


def show(resource: dict[str, Any], output: str, fields: Sequence[str] | None = None) -> None:
    """Print one resource: `text` as lines, `json` as is, `flag` as its bare name."""
    if output == "json":
        click.echo(to_json(resource))
    elif output == "flag":
        click.echo(clean(str(resource.get("name", ""))))
    else:
        chosen = {name: resource.get(name) for name in fields} if fields else resource
        _print_fields(chosen, "")


def show_list(resources: Iterable[dict[str, Any]], output: str, columns: Sequence[str]) -> None:
    """Print many: a table with these columns; JSON as one array; `flag` one name per line."""
    rows = list(resources)
    if output == "json":
        click.echo(to_json(rows))
    elif output == "flag":
        for row in rows:
            click.echo(clean(str(row.get("name", ""))))
    elif not rows:
        click.echo("None found.")
    else:
        _print_table(rows, columns)


def title(name: str) -> str:
    """`createTime` -> `Create Time`; a resource name stays as it is."""
    if "/" in name:
        return name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).title()


def _print_fields(values: dict[str, Any], indent: str) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            click.echo(f"{indent}{title(name)}:")
            _print_fields(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            click.echo(f"{indent}{title(name)}:")
            for item in value:
                click.echo(f"{indent}  - {clean(json.dumps(item, ensure_ascii=False))}")
        elif value not in (None, "", [], {}):
            click.echo(f"{indent}{title(name)}: {clean(_scalar(value))}")


def _print_table(rows: list[dict[str, Any]], columns: Sequence[str]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(title(column), overflow="fold")
    for row in rows:
        table.add_row(*(clean(_scalar(row.get(column))) for column in columns))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 240
    console.print(table)


def _escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
