"""`python -m tests.acceptance.secrets.hostile_control`: the real control process, whose runners are hostile."""

import os
import shutil
from pathlib import Path

from agent import serve
from agent.launchers import Launcher
from agent.turns import Turn
from runner.sandbox.child import Process
from runner.sandbox.spec import LaunchSpec
from runner.sandbox.zygote.client import Zygote

RUNNER = Path(__file__).with_name("hostile_runner.py")
_RUN = "exec(compile(open('/work/hostile.py').read(), 'hostile', 'exec'), {'__name__': '__main__'})"


class HostileLauncher(Launcher):
    """The real sandbox around a program of the attacker's, which lies in the workspace."""

    def __init__(self) -> None:
        self._zygote = Zygote()

    async def aclose(self) -> None:
        await self._zygote.aclose()

    async def __call__(self, turn: Turn, workspace: Path, socket_folder: Path) -> Process:
        shutil.copy(RUNNER, workspace / "hostile.py")
        (workspace / "known.txt").write_text(os.environ["KNOWN_VALUE"])
        uid = 210_000 + turn.slot if os.getuid() == 0 else None
        # timeit is a module that runs a statement: the launcher only starts modules.
        return await self._zygote.launch(
            LaunchSpec(
                session=turn.session, workspace=workspace, socket_directory=socket_folder, uid=uid, module="timeit",
                arguments=["-n", "1", "-r", "1", _RUN],
            )
        )  # fmt: skip


if __name__ == "__main__":
    serve.main(HostileLauncher())
