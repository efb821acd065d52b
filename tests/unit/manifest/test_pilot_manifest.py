"""The preset's manifest: what it promises, and that its files agree with each other."""

import json
import re
from importlib import resources

import jsonschema
import pytest

from manifest.pilot import load_pilot, pilot_methods
from manifest.registry import load_yaml, route_of, routes, shape_of
from manifest.schema import render

DESTRUCTIVE = re.compile(
    r"Delete|Cancel|Update|Undelete|Scale|Resume|Execute|Remove|Destroy|Purge|Reset|Revoke|Set|Patch|Replace|Unload"
    r"|Stop|Terminate|Disable|Overwrite|Import|User|ApiKey|Secret"
)
DOCUMENTED = [
    "GetAccountUsage",
    "GetQuota",
    "ListQuotas",
    "ListCosts",
    "GetModel",
    "ListModels",
    "CreateModelVersion",
    "PrepareModel",
    "ValidateModelUpload",
    "GetDeployment",
    "CreateDeployment",
    "DeployModelVersion",
    "GetDeploymentMetrics",
    "CreateDataset",
    "GetDataset",
    "ListDatasets",
    "PreviewDataset",
    "SplitDataset",
    "CreateEvaluator",
    "GetEvaluator",
    "CreateEvaluation",
    "TestEvaluation",
    "CreateSupervisedFineTuningJob",
    "CreateDpoJob",
    "CreateReinforcementFineTuningJob",
    "CreateRlorTrainerJob",
    "GetTrainingShape",
    "ListTrainingShapes",
    "CreateBatchInferenceJob",
    "ListInferenceLogs",
]


def test_nothing_in_it_destroys_changes_or_touches_rights() -> None:
    names = [entry.method for entry in load_pilot().entries()]
    assert [name for name in names if DESTRUCTIVE.search(name)] == []
    assert {route_of(name).verb for name in pilot_methods()} == {"GET", "POST"}
    assert {route_of(name).action for name in pilot_methods()} <= {"read", "create", "change", "infer"}


def test_it_has_about_eighty_methods_in_the_documented_groups() -> None:
    assert 70 <= len(load_pilot().entries()) <= 90
    assert len(load_pilot().groups) >= 8
    assert set(DOCUMENTED) <= {entry.method for entry in load_pilot().entries()}


@pytest.mark.parametrize("method", sorted(pilot_methods()))
def test_a_routable_method_is_the_registrys_route(method: str) -> None:
    entry, route = pilot_methods()[method], route_of(method)
    assert (entry.verb, entry.path) == (route.verb, route.path)
    assert route.surface != "control"


def test_a_method_that_adds_to_a_resource_is_limited_to_what_the_session_created() -> None:
    changing = {name for name in pilot_methods() if route_of(name).action == "change"}
    assert changing == {name for name, entry in pilot_methods().items() if entry.target == "created"}
    assert changing == {
        "GetModelUploadEndpoint", "PrepareModel", "GetDatasetUploadEndpoint", "UploadDataset", "ValidateDatasetUpload",
        "GetEvaluatorUploadEndpoint", "ValidateEvaluatorUpload", "UploadEvaluatorSource",
    }  # fmt: skip


def test_what_costs_money_is_marked() -> None:
    for name, entry in pilot_methods().items():
        route = route_of(name)
        assert (entry.kind == "infer") == (route.action == "infer")
        if name.endswith(("Job", "Deployment")) and route.verb == "POST":
            assert entry.kind == "spend"
        if entry.kind == "read":
            assert route.action == "read"


def test_unroutable_methods_have_no_route() -> None:
    have = {route.method for route in routes().values()}
    assert not have & {entry.method for entry in load_pilot().entries() if not entry.routable}


def test_the_json_schema_is_fresh_and_the_file_obeys_it() -> None:
    stored = resources.files("manifest").joinpath("pilot.schema.json").read_text("utf-8")
    assert stored == render(), "run `python -m manifest.schema`"
    jsonschema.validate(load_yaml("pilot.yaml"), json.loads(stored))


def test_shapes_are_unambiguous() -> None:
    assert shape_of("/v1/accounts/{account}/datasets/{dataset}:upload") == "/v1/accounts/{}/datasets/{}:upload"
    assert shape_of("/v1/models") == "/v1/models"
    assert len(routes()) >= 100
