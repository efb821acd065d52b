"""firectl: the documented command line, in both grammars, with global flags anywhere."""

import sys

import click

from cli.commands.dataset import dataset
from cli.commands.identity import account, api_key, user, version, whoami
from cli.commands.resources import deployment, model, sftj
from cli.commands.session import session
from cli.connection import Connection
from cli.grammar import normalise
from pilotlight.errors import PilotlightError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-a", "--account-id", "--account", "account_id", help="Account; the key's own when left out.")
@click.option("--api-key", help="API key, instead of FIREWORKS_API_KEY.")
@click.option("-p", "--profile", help="A profile under ~/.fireworks/profiles.")
@click.pass_context
def root(context: click.Context, account_id: str | None, api_key: str | None, profile: str | None) -> None:
    """Fine-tune models in plain words: `firectl session create -n "..."`."""
    context.obj = Connection(account_id, api_key, profile)


for command in (session, dataset, model, sftj, deployment, user, api_key, account, whoami, version):
    root.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 1 refused or failed, 2 wrong usage."""
    try:
        root.main(args=normalise(sys.argv[1:] if arguments is None else arguments), prog_name="firectl")
    except PilotlightError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
