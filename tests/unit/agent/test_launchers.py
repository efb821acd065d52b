"""Without a sandbox nothing runs beside a key that is worth something."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from agent.launchers import ForkLauncher, PlainLauncher, SandboxLauncher, choose_launcher
from pilotlight.errors import FailedPrecondition
from pilotlight.settings import Settings


def test_no_sandbox_is_for_development(tmp_path: Path) -> None:
    bare = Settings(home=tmp_path, sandbox="none")
    assert isinstance(choose_launcher(bare), PlainLauncher)
    for keys in ({"backend": "fireworks"}, {"anthropic_key": SecretStr("sk-ant-x")}):
        with pytest.raises(FailedPrecondition, match="sandbox=none"):
            choose_launcher(bare.model_copy(update=keys))


def test_runners_are_forked_unless_the_settings_say_otherwise(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert type(choose_launcher(settings)) is ForkLauncher
    assert type(choose_launcher(settings.model_copy(update={"runner_start": "exec"}))) is SandboxLauncher
