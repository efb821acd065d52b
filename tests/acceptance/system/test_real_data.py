"""Real public data sets, from file to deployed model; they lie beside the project and are never copied into it."""

from pathlib import Path

import httpx
import pytest

from tests.fixtures.system import System

DATA = Path(__file__).parents[4] / "shared" / "data"
SETTINGS = (
    "Use LoRA ranks 8 and 16 with learning rates 1e-4, train each candidate for 1 epoch, 200 samples for HP tuning."
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not DATA.exists(), reason="the shared data sets are not beside the project")
@pytest.mark.parametrize("name", ["snips_slots_json", "gsm8k_sft"])
def test_real_data_reaches_a_deployed_model(system: System, name: str) -> None:
    identity = name.replace("_", "-")
    system.firectl("dataset", "create", identity, str(DATA / f"{name}.jsonl"))
    session = system.create(f"Run SFT on ember-1m using accounts/local/datasets/{identity}. {SETTINGS}")
    assert "ask_user plan_approval" in system.wait(session)
    assert "ask_user promotion" in system.answer(session, "Approved, proceed.")
    last = system.answer(session, "Proceed with the winning config.")
    assert last.endswith("[done] session status: succeeded\n"), last[-3000:]
    job = f"{system.instance.url}/v1/accounts/local/supervisedFineTuningJobs/ft-{session}-final"
    found = httpx.get(job, headers={"Authorization": f"Bearer {system.environment['FIREWORKS_API_KEY']}"}).json()
    progress = found["localProgress"]
    assert progress["evalLoss"] < progress["baseEvalLoss"]
    report = (system.workspace(session) / "final_report.md").read_text()
    assert f"{progress['baseEvalLoss']:.3f}" in report
