"""Every cell of who may call what, against the documented matrix written down a second time [P110-P112, A84-A90].

Nothing here reads the registry's `action`, `public` or `surface`, nor pilot.yaml: names of methods are all it goes by.
"""

import itertools
import re
from pathlib import Path

import pytest

from manifest import table
from manifest.facts import Caller, Owner
from manifest.pilot import pilot_methods
from manifest.registry import Route, routes

ROLES = ("admin", "user", "contributor", "inference-user", "nobody")
ACCOUNTS = ("acme", "fireworks", "other")
KINDS = ("key", "preset", "session")
CONTROL = re.compile(
    r"(Create|List|Delete)ApiKeys?|(Create|Update|List|Get|Delete)Users?|ListAccounts|GetCaller|GetHealth|GetApiDescription"
    r"|ListEstimates|(Create|List|Get|Update|Cancel|Cleanup|Delete)Sessions?|(List|Stream)SessionEvents"
    r"|(List|Get)SessionArtifacts?"
)
INFERENCE = re.compile(r"CreateChatCompletion|CreateCompletion|CreateMessage|CreatePlannerMessage")
UPLOADS = re.compile(
    r"Get(Dataset|Model|Evaluator)UploadEndpoint|Upload(Dataset|EvaluatorSource)|PrepareModel"
    r"|Validate(Dataset|Evaluator)Upload"
)
READS = re.compile(r"(Get|List|Match|Download).*|ValidateModelUpload")
CHANGES = re.compile(r"(Update|Cancel|Resume|Scale|Undelete|Execute|Delete).*")
PUBLIC = re.compile(
    r"GetAccount|(Get|List)(Model|Dataset|DeploymentShape|TrainingShape)s?|(Get|List|Match)DeploymentShapeVersions?"
    r"|GetDatasetDownloadEndpoint|DownloadDataset"
)
JOBS = ("SupervisedFineTuning", "Dpo", "ReinforcementFineTuning", "RlorTrainer", "BatchInference", "Evaluation")
MANIFEST = {
    *("GetAccount", "GetAccountUsage"),
    *("GetModel", "ListModels", "CreateModel", "GetModelDownloadEndpoint", "GetModelUploadEndpoint"),
    *("ValidateModelUpload", "PrepareModel"),
    *("GetDeployment", "ListDeployments", "CreateDeployment"),
    *("GetDeployedModel", "ListDeployedModels", "CreateDeployedModel"),
    *("GetDeploymentShape", "ListDeploymentShapes", "GetDeploymentShapeVersion", "ListDeploymentShapeVersions"),
    "MatchDeploymentShapeVersion",
    *("GetDataset", "ListDatasets", "CreateDataset", "GetDatasetDownloadEndpoint", "DownloadDataset"),
    *("GetDatasetUploadEndpoint", "UploadDataset", "ValidateDatasetUpload"),
    *("GetEvaluator", "ListEvaluators", "CreateEvaluator", "GetEvaluatorUploadEndpoint", "ValidateEvaluatorUpload"),
    *("GetEvaluatorBuildLogEndpoint", "GetEvaluatorSourceCodeSignedUrl"),
    *("DownloadEvaluatorSource", "UploadEvaluatorSource"),
    *(f"{verb}{job}Job{'s' * (verb == 'List')}" for verb in ("Create", "Get", "List") for job in JOBS),
    *("GetDpoJobMetricsFileEndpoint", "GetEvaluationJobExecutionLogEndpoint"),
    *("GetTrainingShape", "ListTrainingShapes"),
    *("CreateChatCompletion", "CreateCompletion", "CreateMessage", "ListInferenceModels", "CreatePlannerMessage"),
}
COSTS = {*(f"Create{job}Job" for job in JOBS), "CreateDeployment"}


def caller_of(kind: str, role: str) -> Caller:
    match kind:
        case "key":
            return Caller("acme", "ann", role)
        case "preset":
            return Caller("acme", "ann", role, preset="pilot")
        case _:
            return Caller("acme", "ann", role, session="s1")


def documented(route: Route, kind: str, role: str, account: str, owner: str) -> bool:
    """What the documents say about one cell."""
    method = route.method
    if kind != "key" and not within_manifest(method, kind, owner):
        return False
    if CONTROL.fullmatch(method) or (method == "CreatePlannerMessage" and kind != "session"):
        return False
    if method == "ImportModel":
        return role == "admin" and account == "fireworks"
    if "{account}" in route.path and account == "other":
        return False
    if "{account}" in route.path and account == "fireworks" and not PUBLIC.fullmatch(method):
        return False
    if INFERENCE.fullmatch(method):
        return role != "nobody"
    if not UPLOADS.fullmatch(method) and READS.fullmatch(method):
        return role != "nobody"
    if role in ("inference-user", "nobody"):
        return False
    if UPLOADS.fullmatch(method) or CHANGES.fullmatch(method):
        return role != "contributor" or owner in ("own", "other session")
    assert method.startswith("Create"), f"{method} is of no documented kind"
    return True


def within_manifest(method: str, kind: str, owner: str) -> bool:
    if method not in MANIFEST:
        return False
    if kind == "preset" and (method in COSTS or INFERENCE.fullmatch(method)):
        return False
    mine = ("own",) if kind == "session" else ("own", "other session")
    return not UPLOADS.fullmatch(method) or owner in mine


@pytest.mark.parametrize("kind", KINDS)
def test_every_cell_is_as_documented(kind: str) -> None:
    cells = allowed = 0
    for route in routes().values():
        for role, account, (name, owner) in itertools.product(ROLES, ACCOUNTS, table.OWNERS.items()):
            cell = (route.method, kind, role, account, name)
            got = table.is_allowed(route, caller_of(kind, role), account, owner)
            assert got == documented(route, kind, role, account, name), cell
            cells, allowed = cells + 1, allowed + got
    assert cells == len(routes()) * len(ROLES) * len(ACCOUNTS) * len(table.OWNERS)
    assert cells > 7000
    assert allowed > 700


def test_owners_are_all_relations() -> None:
    assert list(table.OWNERS.values()) == [Owner("ann", "s1"), Owner("ann", "s2"), Owner("bob", ""), None]


def test_the_manifest_is_exactly_this_list() -> None:
    assert set(pilot_methods()) == MANIFEST


def test_the_document_is_fresh() -> None:
    stored = (Path(__file__).parents[3] / "docs/permissions.md").read_text("utf-8")
    assert stored == table.render(), "run `python -m manifest.table`"


def test_the_document_has_every_method_once() -> None:
    rows = re.findall(r"^\| ([A-Z]\w+) \|", table.render(), re.MULTILINE)
    assert sorted(rows) == sorted({route.method for route in routes().values()})
