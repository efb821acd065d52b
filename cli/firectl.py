"""firectl: the documented command line, in both grammars, with global flags anywhere."""

import sys

import click

from cli.commands.dataset import dataset
from cli.commands.evaluators import evaluation_job, evaluator
from cli.commands.identity import account, api_key, user, version, whoami
from cli.commands.preference import dpoj
from cli.commands.resources import deployment, model, sftj
from cli.commands.session import session
from cli.connection import Connection
from cli.entry import run_program
from cli.grammar import normalise


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-a", "--account-id", "--account", "account_id", help="Account; the key's own when left out.")
@click.option("--api-key", help="API key, instead of FIREWORKS_API_KEY.")
@click.option("-p", "--profile", help="A profile under ~/.fireworks/profiles.")
@click.pass_context
def root(context: click.Context, account_id: str | None, api_key: str | None, profile: str | None) -> None:
    """Fine-tune models in plain words: `firectl session create -n "..."`."""
    context.obj = Connection(account_id, api_key, profile)


_RESOURCES = (dataset, model, sftj, dpoj, deployment, evaluator, evaluation_job)
for command in (session, *_RESOURCES, user, api_key, account, whoami, version):
    root.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point."""
    run_program(root, "firectl", normalise(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
