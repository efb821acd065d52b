"""How both programs run and fail: one clear paragraph on standard error; exit code 1 failed, 2 wrong usage."""

import sys

import click
from pydantic import ValidationError

from pilotlight.errors import PilotlightError


def run_program(group: click.Group, name: str, arguments: list[str] | None) -> None:
    """Run a command group; what it may raise for a user's reason ends without a traceback."""
    try:
        group.main(args=arguments, prog_name=name)
    except ValidationError as error:
        problems = (f"PILOTLIGHT_{str(problem['loc'][0]).upper()}: {problem['msg']}" for problem in error.errors())
        _fail(f"A setting is wrong. {'; '.join(problems)}", code=2)
    except (PilotlightError, OSError, UnicodeError) as error:
        _fail(str(error), code=1)


def _fail(message: str, code: int) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)
