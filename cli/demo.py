"""The demo: a private instance, the demo's data, one sentence, and the real commands a person would type.

Everything printed is the output of these commands; the approvals are given by the demo, visibly.
"""

import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click

from cli.up import Instance, free_port, treat_stop_as_interrupt

INSTRUCTIONS = {
    "sft": (
        "Fine-tune ember-1m on accounts/local/datasets/support-tickets. Use validation loss for evaluation. "
        "Use 300 samples for HP tuning. Budget: under $1."
    ),
    "classification": (
        "Benchmark and fine-tune classification on accounts/local/datasets/support-tickets. "
        "Compare ember-500k and ember-1m. Use 300 samples for HP tuning. Budget: under $1."
    ),
    "evaluator": (
        "Generate an evaluator for accounts/local/datasets/support-tickets, then run SFT on ember-1m and use that "
        "evaluator to pick the winning candidate. Use 300 samples for HP tuning. Budget: under $1."
    ),
    "preference": (
        "Run ORPO on accounts/local/datasets/replies using ember-1m with beta 0.1 and 0.3. "
        "Target: accuracy of 80%. Budget: under $1."
    ),
}
"""By workflow: the one sentence that the demo starts with."""
_DATA = {"preference": ("replies", "demo_pairs")}
"""By workflow: the dataset, and the module that makes it; ("support-tickets", "demo_data") for all others."""
_REPLIES = {
    "plan_approval": "Approved, proceed.",
    "promotion": "Proceed with the winning config.",
    "comparison": "Deploy it.",
    "spend_increase": "Approved, proceed.",
}
_MAX_PAUSES = 6


def run_demo(home: Path | None, rows: int, keep: bool, workflow: str) -> int:
    """Run it; 0 when the session succeeded and the deployed model answered."""
    treat_stop_as_interrupt()
    started = time.monotonic()
    with ExitStack() as stack:
        folder = home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pilotlight-demo-")))
        say("Starting the agent and the embedded platform ...")
        instance = stack.enter_context(Instance(folder, free_port(), free_port()))
        demo = Demo(instance, folder)
        demo.prepare(rows, *_DATA.get(workflow, ("support-tickets", "demo_data")))
        session = demo.converse(INSTRUCTIONS[workflow])
        code = demo.try_snippet(session)
        demo.firectl("session", "get", session)
        demo.run([sys.executable, "-P", "-m", "cli.operator", "estimates"], shown="pilotlight estimates")
        say(f"The whole demo took {time.monotonic() - started:.0f} s.")
        if keep:
            say(f"Still running at {instance.url}; Ctrl-C stops it. In another terminal:")
            say(f"  export PILOTLIGHT_HOME={instance.home} PILOTLIGHT_PORT={instance.port}")
            _wait(instance)
        return code


class Demo:
    """The commands of the demo, run against one instance."""

    def __init__(self, instance: Instance, folder: Path) -> None:
        self.folder = folder
        key = instance.key_path.read_text().strip()
        own = {"FIREWORKS_API_KEY": key, "FIREWORKS_BASE_URL": instance.url, "PYTHONUNBUFFERED": "1"}
        self.environment = instance.environment | own

    def prepare(self, rows: int, dataset: str, module: str) -> None:
        """Make the demo's data and upload it."""
        file = self.folder / f"{dataset}.jsonl"
        make = [f"local_platform.basemodels.{module}", "--rows", str(rows), "--seed", "7", "--output", str(file)]
        self.run([sys.executable, "-P", "-m", *make], shown=f"python -m {' '.join(make[:-1])} {file.name}")
        self.firectl("dataset", "create", dataset, str(file))

    def converse(self, instruction: str) -> str:
        """Create the session and answer it to its end; returns its ID. Raises ClickException unless it succeeds."""
        session = _find(r"Session ID: (\S+)", self.firectl("session", "create", "-n", instruction))
        seen = 0
        for _ in range(_MAX_PAUSES):
            output = self.firectl("session", "events", session, "--wait", "--after", str(seen))
            status = _find(r"\[done\] session status: (\w+)", output)
            if status == "succeeded":
                return session
            if status != "waiting":
                raise click.ClickException(f"The session ended as {status}; see above.")
            kind = re.findall(r"status_info: ask_user (\w+)", output)[-1]
            if kind not in _REPLIES:
                raise click.ClickException(f"The session asks for {kind}, which the demo does not answer; see above.")
            seen = self._last_seq(session)
            self.firectl("session", "update", session, "-n", _REPLIES[kind])
        raise click.ClickException("The session paused more often than a fine-tune should.")

    def try_snippet(self, session: str) -> int:
        """Paste the report's SDK snippet into a file and run it; its exit code."""
        report = self.folder / "sessions" / session / "work" / "final_report.md"
        snippet = _find(r"```python\n(.*?)```", report.read_text(), re.DOTALL)
        file = self.folder / "snippet.py"
        file.write_text(snippet)
        return self.run([sys.executable, "-P", str(file)], shown=f"python {file.name}     # the report's SDK snippet")[
            0
        ]

    def firectl(self, *arguments: str) -> str:
        """Run firectl, show it, and return what it printed. Raises ClickException when it fails."""
        shown = " ".join(f'"{word}"' if " " in word else word for word in arguments)
        code, output = self.run([sys.executable, "-P", "-m", "cli.firectl", *arguments], shown=f"firectl {shown}")
        if code:
            raise click.ClickException(f"firectl ended with code {code}; see above.")
        return output

    def run(self, command: list[str], shown: str) -> tuple[int, str]:
        """Run a command, printing its output as it comes."""
        click.secho(f"\n$ {shown}", bold=True)
        lines: list[str] = []
        with subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.folder
        ) as process:
            for line in process.stdout or ():
                lines.append(line)
                click.echo(line, nl=False)
        return process.returncode, "".join(lines)

    def _quiet(self, *arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "cli.firectl", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def _last_seq(self, session: str) -> int:
        return int(_find(r'"lastSeq": "(\d+)"', self._quiet("session", "get", session, "-o", "json")))


def say(text: str) -> None:
    """The demo's own words, told apart from the commands' output."""
    click.secho(text, fg="cyan")


def _find(pattern: str, text: str, flags: int = 0) -> str:
    match = re.search(pattern, text, flags)
    if not match:
        raise click.ClickException(f"Expected {pattern!r} in the output above.")
    return match[1]


def _wait(instance: Instance) -> None:
    try:
        while True:
            time.sleep(1)
            instance.check()
    except KeyboardInterrupt:
        say("Stopped.")
