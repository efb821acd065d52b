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
        ["--scenario", "random", "--kills", "6"],
        ("acknowledged", "client", "gates"),
    ),
    "ledger": Missing(
        [("gateway/effects.py", "    if row is None:\n        return None\n", "    return None\n")],
        ["--scenario", "random", "--kills", "60"],
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
    command = [sys.executable, "-P", "-m", "tests.crashes", *missing.campaign, "--seed", "5", "--limit", "600"]
    with TemporaryDirectory(prefix="crash") as short:  # a socket's path has at most 107 bytes; pytest's has more
        environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": short}
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout[-3000:], done.stderr[-3000:])
    assert done.returncode == 1
    assert any(f"\n  {rule}: " in done.stdout for rule in missing.rules)
