"""pilotlight: for whoever runs the machine."""

import os
import subprocess
import sys
from pathlib import Path

import click

from cli.commands.options import output_option
from cli.connection import Connection
from cli.demo import INSTRUCTIONS, run_demo
from cli.doctor import run_doctor
from cli.entry import run_program
from cli.output import show, show_list, to_json
from cli.up import Instance, serve_until_stopped
from pilotlight import __version__
from pilotlight.settings import Settings

_ESTIMATE_COLUMNS = ("session", "phase", "expectedUsd", "lowUsd", "highUsd", "actualUsd", "settled", "estimatedSeconds",
                     "actualSeconds", "outcome")  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pilotlight")
def root() -> None:
    """Run Pilotlight on this machine."""


@root.command()
@click.option(
    "--home", type=click.Path(file_okay=False, path_type=Path), help="State folder; PILOTLIGHT_HOME when left out."
)
@click.option("--port", type=click.IntRange(1, 65535), help="Of the agent; PILOTLIGHT_PORT when left out.")
@click.option("--platform-port", type=click.IntRange(1, 65535))
def up(home: Path | None, port: int | None, platform_port: int | None) -> None:
    """Start the agent and the embedded platform, and stop them with Ctrl-C."""
    settings = Settings()
    serve_until_stopped(Instance(home or settings.home, port or settings.port, platform_port or settings.platform_port))


@root.command()
@click.option("--turns", type=click.IntRange(min=1), help="At a time; PILOTLIGHT_CONCURRENT_TURNS when left out.")
def worker(turns: int | None) -> None:
    """Run turns of sessions beside `pilotlight up`, on this machine or another one with the same database."""
    more = {"PILOTLIGHT_CONCURRENT_TURNS": str(turns)} if turns else {}
    os.execve(sys.executable, [sys.executable, "-P", "-m", "agent.worker"], os.environ | more)


@root.command()
@click.option("--home", type=click.Path(file_okay=False, path_type=Path), help="Keep the demo's state here.")
@click.option("--rows", type=click.IntRange(100, 5000), default=600, show_default=True)
@click.option("--keep", is_flag=True, help="Leave the servers running afterwards, to try things by hand.")
@click.option("--workflow", type=click.Choice(list(INSTRUCTIONS)), default="sft", show_default=True)
def demo(home: Path | None, rows: int, keep: bool, workflow: str) -> None:
    """Fine-tune a tiny model for real: from a sentence to a deployed model that answers."""
    sys.exit(run_demo(home, rows, keep, workflow))


@root.command()
def doctor() -> None:
    """Test every protection of the sandbox on this host, and say how to repair what is missing."""
    sys.exit(run_doctor())


@root.command()
@click.argument("text")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per text.")
@click.option("--reply", is_flag=True, help="Read it as a reply at an approval.")
@click.option("--kind", help="With --reply: the question's kind.")
def interpret(text: str, as_json: bool, reply: bool, kind: str | None) -> None:
    """Show how a sentence is read; - reads one text per line from standard input."""
    from runner.interpreter import interpret as read
    from runner.interpreter import interpret_reply

    lines = (raw.decode("utf-8", "replace").rstrip("\r\n") for raw in sys.stdin.buffer)
    for line in lines if text == "-" else [text]:
        found = interpret_reply(line, kind).model_dump() if reply else read(line).said()
        if as_json or text == "-":
            click.echo(to_json(found, indent=None))
        elif found:
            show(found, "text")
        else:
            click.echo("Nothing in it was understood. Name a workflow and a dataset, for example:\n"
                       "  Run SFT on ember-1m using accounts/local/datasets/mydata")  # fmt: skip
        sys.stdout.flush()


@root.command()
@output_option
def estimates(output: str) -> None:
    """Show estimated against actual cost and time of every run."""
    connection = Connection()
    page = connection.get(connection.path("estimates"), pageSize=200)
    if output == "json":
        click.echo(to_json(page))
        return
    show_list(page["estimates"], output, _ESTIMATE_COLUMNS)
    if (ratio := page["ratio"]) and ratio["runs"] and output == "text":
        low, high = (f"{ratio[name]:.2f}" if ratio[name] else "-" for name in ("low", "high"))
        click.echo(f"Actual over expected, over {ratio['runs']} runs: {low} to {high}; the next plan's range uses it.")


@root.command()
@click.argument("path", type=click.Path(path_type=Path))
def backup(path: Path) -> None:
    """Copy the whole state into the new folder PATH, while everything runs. It holds keys."""
    sys.exit(_run_backup("create", str(path)))


@root.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--replace-home", is_flag=True, help="Move a home that is not empty aside.")
def restore(path: Path, replace_home: bool) -> None:
    """Make the home from the backup PATH, after checking all of it."""
    sys.exit(_run_backup("restore", str(path), *(["--replace-home"] if replace_home else [])))


def _run_backup(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-P", "-m", "agent.backup", *arguments], check=False).returncode


@root.command()
@click.option("--test", is_flag=True, required=True, help="Send a sample to every channel that is set, once.")
def notify(test: bool) -> None:
    """Notifications: PILOTLIGHT_WEBHOOK_URL and PILOTLIGHT_NOTIFY_COMMAND."""
    sys.exit(subprocess.run([sys.executable, "-P", "-m", "agent.notices", "--test"], check=False).returncode)


@root.group()
def model() -> None:
    """Base models."""


@model.command("import")
@click.argument("source")
@click.option("--model-id", help="ID in the catalogue; made from the source when left out.")
@click.option("--revision", help="Branch, tag or commit of a hub name; the commit is recorded.")
@click.option("--chat-template", type=click.Path(exists=True, path_type=Path), help="A Jinja file, if it has none.")
@click.option("--context-length", type=int)
@click.option("--lora-alpha-ratio", type=float, help="alpha / rank; 2 when left out.")
@click.option("--offline", is_flag=True, help="Download nothing: a folder, or a hub name that is in the cache.")
@output_option
def import_model(
    source: str,
    model_id: str | None,
    chat_template: Path | None,
    offline: bool,
    output: str,
    revision: str | None,
    context_length: int | None,
    lora_alpha_ratio: float | None,
) -> None:
    """Register a Hugging Face checkpoint, by folder or hub name, as a base model."""
    folder = Path(source).expanduser()
    body: dict[str, object] = {
        "source": str(folder.resolve()) if folder.is_dir() else source,
        "modelId": model_id or _make_id(source),
        "allowDownload": not offline and not folder.is_dir(),
    }
    template = chat_template.read_text() if chat_template else None
    optional = {
        "revision": revision,
        "chatTemplate": template,
        "contextLength": context_length,
        "loraAlphaRatio": lora_alpha_ratio,
    }
    body |= {name: value for name, value in optional.items() if value is not None}
    show(Connection().post("/v1/accounts/fireworks/models:import", body), output)


@root.group()
def audit() -> None:
    """The gateway's record of every verdict."""


@audit.command("verify")
def verify() -> None:
    """Check the hash chain: any edited, removed or reordered entry is found."""
    sys.exit(subprocess.run([sys.executable, "-P", "-m", "gateway.verify"], check=False).returncode)


def _make_id(source: str) -> str:
    name = source.rstrip("/").rsplit("/", 1)[-1].lower().replace(".", "p")
    return "".join(character if character.isascii() and character.isalnum() else "-" for character in name).strip("-")


def main(arguments: list[str] | None = None) -> None:
    """Entry point."""
    run_program(root, "pilotlight", arguments)


if __name__ == "__main__":
    main()
