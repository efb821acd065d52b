import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.up import Instance, free_port
from tests.fixtures.command import CommandLine

ROWS = [
    {"messages": [{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": str(n)}]} for n in range(5)
]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with Instance(tmp_path_factory.mktemp("instance"), free_port(), free_port()) as running:
        yield running


@pytest.fixture
def line(instance: Instance, tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, instance.url, instance.key_path.read_text().strip())


def write_rows(path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_a_dataset_goes_up_and_comes_back(line: CommandLine):
    file = write_rows(line.home / "My data_1.jsonl")
    shown = line.read("dataset", "create", "round-trip", str(file))
    assert {"State: READY", "Example Count: 5"} <= set(shown.splitlines())
    assert line.read("dataset", "create", str(file), "-o", "flag") == "accounts/local/datasets/my-data-1\n"
    names = line.read("list", "datasets", "-o", "flag", "--order-by", "name").split()
    assert names == ["accounts/local/datasets/my-data-1", "accounts/local/datasets/round-trip"]
    assert line.read("dataset", "get", names[1]) == line.read("get", "dataset", "round-trip", "-a", "local")
    saved = line.read("dataset", "download", "round-trip", "--output-dir", "out").strip()
    assert (line.home / saved).read_bytes() == file.read_bytes()
    assert "already exists" in line.fail("dataset", "create", "round-trip", str(file))
    for name in names:
        line.read("dataset", "delete", name)
    assert line.read("dataset", "list") == "None found.\n"


def test_a_bad_file_is_refused_with_line_numbers_and_leaves_nothing(line: CommandLine):
    file = line.home / "bad.jsonl"
    good = json.dumps(ROWS[0])
    file.write_text(good + '\n{"messages": [\n' + good + '\n{"messages": [{"role": "user", "content": "x"}]}\n')
    text = line.fail("dataset", "create", "bad", str(file))
    assert "line 2" in text
    assert "line 4" in text
    assert line.read("dataset", "list", "-o", "flag") == ""
    write_rows(file)
    line.read("dataset", "create", "bad", str(file))
    line.read("dataset", "delete", "bad")
    assert "No file" in line.fail("dataset", "create", "bad", "missing.jsonl")
    assert "dataset ID" in line.fail("dataset", "create", "Not An ID", str(file))


def test_base_models_and_a_job_that_is_only_shown(line: CommandLine):
    assert "accounts/fireworks/models/ember-1m" in line.read("model", "list", "--account", "accounts/fireworks")
    shown = line.read("model", "get", "ember-1m", "-a", "fireworks").splitlines()
    assert {"Tunable: true", "Supports Lora: true", "Context Length: 1024"} <= set(shown)
    printed = line.read(
        *("create", "supervised-fine-tuning-job", "--base-model", "ember-1m", "--dataset", "d", "--output-model", "m"),
        *("--epochs", "2", "--learning-rate=1e-4", "--lora-rank", "8", "--dry-run"),
    )
    assert json.loads(printed.partition("\n")[2]) == {
        "baseModel": "accounts/fireworks/models/ember-1m",
        "dataset": "accounts/local/datasets/d",
        "outputModel": "accounts/local/models/m",
        "epochs": 2.0,
        "learningRate": 0.0001,
        "loraRank": 8,
    }
    assert line.read("sftj", "list", "-o", "json") == "[]\n"
    printed = line.read(
        *("dpoj", "create", "--base-model", "ember-1m", "--dataset", "d", "--output-model", "m", "--beta", "0.3"),
        *("--method", "ORPO", "--evaluation-dataset", "e", "--epochs", "2", "--dry-run"),
    )
    assert json.loads(printed.partition("\n")[2]) == {
        "dataset": "accounts/local/datasets/d",
        "evaluationDataset": "accounts/local/datasets/e",
        "lossConfig": {"method": "ORPO", "klBeta": 0.3},
        "trainingConfig": {
            "baseModel": "accounts/fireworks/models/ember-1m",
            "outputModel": "accounts/local/models/m",
            "epochs": 2.0,
        },
    }
    assert line.read("dpoj", "list", "-o", "json") == "[]\n"
    assert line.read("list", "deployments") == "None found.\n"


def test_the_agents_own_key_as_the_documents_make_it(line: CommandLine):
    line.read("user", "create", "--service-account", "--user-id=pilot-bot", "--permission-preset=pilot")
    made = line.read("api-key", "create", "--service-account=pilot-bot", "--name", "agent").splitlines()
    fields = dict(text.split(": ", 1) for text in made)
    assert fields["Secure"] == "true"
    assert fields["Key"].startswith("fw_")
    assert {"Key Id", "Display Name"} <= set(fields)
    bot = {"FIREWORKS_API_KEY": "", "FIREWORKS_AGENT_API_KEY": fields["Key"]}
    assert "User: accounts/local/users/pilot-bot" in line.read("whoami", variables=bot)
    assert "[403]" in line.fail("user", "create", "--user-id", "other", variables=bot)
    listed = line.read("user", "list", "--filter", "service_account=true", "-o", "flag")
    assert listed == "accounts/local/users/pilot-bot\n"
    assert fields["Key"] not in line.read("api-key", "list", "--service-account=pilot-bot")
    own = json.loads(line.read("create", "api-key", "--key-name", "mine", "-o", "json"))
    assert own["displayName"] == "mine"


def test_where_key_and_account_come_from(line: CommandLine, instance: Instance):
    key = line.environment.pop("FIREWORKS_API_KEY")
    assert "No API key" in line.fail("whoami")
    own = {"PILOTLIGHT_HOME": str(instance.home), "PILOTLIGHT_PORT": str(instance.port)}
    assert "Role: admin" in line.read("whoami", variables=own), "the admin's key of this machine's server"
    assert "No API key" in line.fail("whoami", variables=own | {"PILOTLIGHT_PORT": "1"}), "and of no other server"
    folder = line.home / ".fireworks"
    folder.mkdir()
    (folder / "auth.ini").write_text(f"[fireworks]\napi_key = {key}\naccount_id = local\n")
    assert "Account: accounts/local" in line.read("whoami")
    profile = folder / "profiles" / "dev"
    profile.mkdir(parents=True)
    (profile / "auth.ini").write_text("api_key = fw_wrong\n")
    assert "Invalid API key" in line.fail("whoami", "-p", "dev")
    assert "[403]" in line.fail("dataset", "list", "-a", "elsewhere")


def test_estimates_before_any_run_and_the_audit(line: CommandLine, instance: Instance):
    assert line.read("estimates", program="pilotlight") == "None found.\n"
    line.read("audit", "verify", program="pilotlight", variables={"PILOTLIGHT_HOME": str(instance.home)})


def test_a_checkpoint_is_imported_as_a_base_model(line: CommandLine, tiny_checkpoint: Path):
    shown = line.read("model", "import", str(tiny_checkpoint), "--model-id", "tiny", program="pilotlight")
    assert "Name: accounts/fireworks/models/tiny" in shown.splitlines()
    assert "State: READY" in line.read("model", "get", "tiny", "-a", "fireworks").splitlines()
    nothing = line.fail("model", "import", str(line.home), "--model-id", "empty", program="pilotlight")
    assert nothing.startswith("Error: ")


def test_an_evaluator_is_made_from_a_file(line: CommandLine):
    code = line.home / "evaluator.py"
    code.write_text("def evaluate(row, completion):\n    print(completion)\n    return completion in ('1', '2')\n")
    assert "State: ACTIVE" in line.read("evaluator", "create", "low", str(code)).splitlines()
    saved = line.read("evaluator", "download", "low", "--output-dir", "got").strip()
    assert (line.home / saved).read_text() == code.read_text()


@pytest.mark.slow
def test_an_evaluator_scores_a_dataset(line: CommandLine):
    (line.home / "evaluator.py").write_text(
        "def evaluate(row, completion):\n    print(completion)\n    return completion in ('1', '2')\n"
    )
    line.read("evaluator", "create", "scorer", "evaluator.py", "--display-name", "Low numbers")
    assert "Entry point: evaluator.py" in line.read("evaluator", "log", "scorer")
    line.read("dataset", "create", "numbers", str(write_rows(line.home / "numbers.jsonl")))
    wanted = ["--evaluator", "scorer", "--input-dataset", "numbers", "--output-dataset", "scored", "--job-id", "j"]
    assert "POST /v1/accounts/local/evaluationJobs" in line.read("evj", "create", *wanted, "--dry-run")
    line.read("evaluation-job", "create", *wanted)
    deadline = time.monotonic() + 60
    while "JOB_STATE_COMPLETED" not in (found := line.read("evaluation-job", "get", "j")):
        assert time.monotonic() < deadline, found
        assert "FAILED" not in found
    assert "Score: 0.4" in found
    assert line.read("evaluation-job", "log", "j").split() == ["0", "1", "2", "3", "4"]
    (line.home / "bad.py").write_text("def evaluate(:")
    assert "bad.py is not Python" in line.fail("evaluator", "create", "bad", "bad.py")
    for noun, name in (("evaluation-job", "j"), ("evaluator", "scorer"), ("evaluator", "bad"), ("dataset", "numbers")):
        line.read(noun, "delete", name)
    line.read("dataset", "delete", "scored")
