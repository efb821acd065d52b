"""The published document is what the server does: schemathesis, bounded and seeded."""

from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fixtures.control import ControlServer

load_all_checks()
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 10


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_the_server_keeps_its_openapi_document(control: ControlServer, mode: GenerationMode) -> None:
    document = control.http.get("/openapi.json", headers={"authorization": ""}).json()
    assert not [path for path in document["paths"] if "turn" in path]
    session = control.create("ask q1; ask q2; ask q3")
    control.settle(session, "waiting")
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=str(control.http.base_url))
    operations: list[Any] = [cast("Any", result).ok() for result in schema.get_all_operations()]
    assert len(operations) == sum(len(path) for path in document["paths"].values())
    for operation in sorted(operations, key=_ends_the_session):
        _try(operation, mode, session, control.http.headers["authorization"])


def _ends_the_session(operation: Any) -> tuple[bool, bool]:
    """For sorting: what ends the session comes last, so that the others meet one that waits."""
    return operation.method == "delete", "cancel" in operation.path


def _try(operation: Any, mode: GenerationMode, session: str, key: str) -> None:
    @seed(7)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list[Any](HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        known = {"account": "acct", "session": session}
        case.path_parameters |= {name: known[name] for name in case.path_parameters if name in known}
        case.call_and_validate(checks=CHECKS, headers={"authorization": key}, timeout=20)

    send()
