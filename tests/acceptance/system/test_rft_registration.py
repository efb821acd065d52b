"""An evaluator for reinforcement fine-tuning on a real instance, from the sentence to the hand-off.

Needs a package index for Eval Protocol, so it is slow; PILOTLIGHT_TEST_ENVIRONMENTS may name a folder that has it.
"""

import json
import os
from pathlib import Path

import pytest

from cli.up import Instance, free_port
from tests.fixtures.system import System

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"What is {n} + {n + 1}?"},
            {"role": "assistant", "content": f"The answer is {2 * n + 1}."},
        ],
        "ground_truth": str(2 * n + 1),
    }
    for n in range(20)
]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_from_the_sentence_to_the_hand_off(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if known := os.environ.get("PILOTLIGHT_TEST_ENVIRONMENTS"):
        (home / "environments").symlink_to(known)
    file = tmp_path / "math.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with Instance(home, free_port(), free_port()) as instance:
        system = System(instance, tmp_path)
        system.firectl("dataset", "create", "math-problems", str(file))
        session = system.create(
            "Build an RFT evaluator for accounts/local/datasets/math-problems. "
            "Score whether the final numeric answer matches ground truth."
        )
        shown = system.wait(session)
        assert "@evaluation_test(" in shown, shown
        assert 'Reply "Approved, proceed"' in shown
        assert "[done] session status: waiting" in shown
        system.firectl("session", "update", session, "-n", "Approved, proceed.")
        shown = system.wait(session)
        assert "[done] session status: succeeded" in shown, shown
        name = f"accounts/local/evaluators/ft-{session}-rft1"
        assert f"--evaluator {name} --dataset accounts/local/datasets/math-problems" in shown
        assert "State: ACTIVE" in system.firectl("evaluator", "get", name)
