"""The campaign fails where a protection is missing: else it would prove nothing."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from tests.mutation.campaign import copy_tree

pytestmark = pytest.mark.timeout(3600)
LIMIT_SECONDS = 240
"""Sessions that lost a protection may never come to rest, which alone would prove nothing."""


class Missing(NamedTuple):
    """A protection that is taken away: edits of (file, text, replacement), and the campaign that must then fail."""

    edits: list[tuple[str, str, str]]
    campaign: list[str]
    rules: tuple[str, ...]
    """One of them is broken then."""


MISSING = {
    "inbox": Missing(
        [
            (
                "agent/requests.py",
                "    if request_id is None:\n        return None\n    query",
                "    return None\n    query",
            )
        ],
        ["--scenario", "points", "--points", "control.create.committed", "control.update.committed"],
        ("acknowledged", "client", "gates"),
    ),
    "ledger": Missing(
        [("gateway/effects.py", "    if row is None:\n        return None\n", "    return None\n")],
        ["--scenario", "points", "--points", "control.call.answered", "control.outcome.*", "runner.call.answered"],
        ("client", "outside", "statuses", "money"),
    ),
    "fence": Missing(
        [
            (
                "agent/questions.py",
                'if turn is None or row.epoch != epoch or row.status != "running":',
                "if turn is None:",
            ),
            (
                "agent/journal.py",
                "        statement = statement.where(col(SessionRow.epoch) == epoch)\n",
                "        pass\n",
            ),
            (
                "agent/journal.py",
                "        _check_epoch(db, session_id, epoch)\n        return seq\n",
                "        return seq\n",
            ),
            ("gateway/fence.py", "    if principal.session is not None and not", "    if False and not"),
        ],
        ["--scenario", "zombies"],
        ("epochs", "client", "outside", "statuses", "events", "idle"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MISSING))
def test_a_missing_protection_is_found(tmp_path: Path, name: str) -> None:
    tree, missing = copy_tree(tmp_path / "tree"), MISSING[name]
    for file, text, replacement in missing.edits:
        source = (tree / file).read_text("utf-8")
        assert source.count(text) == 1, (file, text)
        (tree / file).write_text(source.replace(text, replacement), "utf-8")
    options = [*missing.campaign, "--seed", "5", "--limit", str(LIMIT_SECONDS)]
    command = [sys.executable, "-P", "-m", "tests.crashes", *options]
    with TemporaryDirectory(prefix="crash") as short:  # a socket's path has at most 107 bytes; pytest's has more
        environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": short}
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout[-3000:], done.stderr[-3000:])
    assert done.returncode == 1
    found = [line.strip() for line in done.stdout.splitlines() if "not at rest" not in line]
    assert any(line.startswith(f"{rule}: ") for line in found for rule in missing.rules)
