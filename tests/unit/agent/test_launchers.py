"""Without a sandbox nothing runs beside a key that is worth something."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from agent.launchers import PlainLauncher, choose_launcher
from pilotlight.errors import FailedPrecondition
from pilotlight.settings import Settings


def test_no_sandbox_is_for_development(tmp_path: Path) -> None:
    bare = Settings(home=tmp_path, sandbox="none")
    assert isinstance(choose_launcher(bare), PlainLauncher)
    for keys in ({"backend": "fireworks"}, {"anthropic_key": SecretStr("sk-ant-x")}):
        with pytest.raises(FailedPrecondition, match="sandbox=none"):
            choose_launcher(bare.model_copy(update=keys))
