"""Shapes: what can be deployed and trained how, and how fast this machine does it, measured for real."""

from pathlib import Path
from typing import Any

import fireworks
import pytest
from fireworks import Fireworks

from tests.fixtures.platform import PlatformServer, import_base


def test_deployment_shapes_exist_per_base_model(sdk: Fireworks, tiny_base: str) -> None:
    shapes = list(sdk.deployment_shapes.list(account_id="fireworks", target_model=tiny_base))
    assert [shape.base_model for shape in shapes] == [tiny_base]
    shape = sdk.deployment_shapes.get("tiny-base-minimal", account_id="fireworks")
    assert (shape.name, shape.preset_type, shape.enable_addons) == (shapes[0].name, "MINIMAL", True)
    with pytest.raises(fireworks.NotFoundError, match="the deployment shape version does not exist"):
        sdk.deployment_shapes.get("nothing", account_id="fireworks")


def test_versions_are_listed_over_all_shapes(sdk: Fireworks, tiny_base: str) -> None:
    wanted = f'snapshot.base_model="{tiny_base}" AND latest_validated=true'
    versions = list(sdk.deployment_shape_versions.list("-", account_id="-", filter=wanted))
    assert [version.name for version in versions] == [
        "accounts/fireworks/deploymentShapes/tiny-base-minimal/versions/v1"
    ]
    version = sdk.deployment_shape_versions.get("v1", account_id="fireworks", deployment_shape_id="tiny-base-minimal")
    assert version.snapshot
    assert version.snapshot.base_model == tiny_base
    request: Any = {"parent": "accounts/acme", "deployment": {"base_model": tiny_base}}
    matched = sdk.deployment_shape_versions.match(create_deployment_request=request)
    assert [item.name for item in matched.deployment_shape_versions or []] == [version.name]


def test_a_training_shape_tells_the_measured_speed(platform_server: PlatformServer, tiny_checkpoint: Path) -> None:
    base = import_base(platform_server, tiny_checkpoint, "measured-base")
    with platform_server.http() as http:
        http.timeout = 120
        shape = http.get("/v1/accounts/fireworks/trainingShapes/measured-base").raise_for_status().json()
        assert http.get("/v1/accounts/fireworks/trainingShapes/none").status_code == 404
    assert (shape["baseModel"], shape["trainerMode"], shape["maxSupportedContextLength"]) == (
        base,
        "LORA_TRAINER",
        1024,
    )
    speed = shape["localThroughput"]
    assert (speed["concurrentJobs"], speed["defaultBatchTokens"]) == (2, 256)
    assert speed["trainTokensPerSecond"] > 100
    assert speed["evalTokensPerSecond"] > speed["trainTokensPerSecond"]
    assert speed["generateTokensPerSecond"] > 50
    assert 0.5 < speed["startupSeconds"] < 60
    assert (platform_server.home / "platform" / "throughput.json").exists()
    assert not list((platform_server.home / "platform" / "calibration").iterdir())
