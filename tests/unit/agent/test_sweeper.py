"""Sweeping: what is too old goes, what is needed stays, and a sweep with nothing to forget waits for no writer."""

from pathlib import Path

import anyio
from sqlmodel import select

from agent.history import record_snapshot
from agent.store import reading, writing
from agent.sweeper import sweep_all, sweep_session
from agent.tables import SessionRow, SnapshotRow
from agent.workspace import Workspace
from pilotlight.settings import Settings
from tests.fixtures.databases import Databases
from tests.unit.agent.conftest import make_engine

SESSION, TIME = "1779157376-41e1", "2026-05-18T00:00:00.000000Z"


def make_row(identity: str, epoch: int) -> SessionRow:
    return SessionRow(
        id=identity, slot=int(identity[-1]), account="acme", created_by="ann", created_user="ann", status="waiting",
        instruction="Run SFT", epoch=epoch, create_time=TIME, update_time=TIME,
    )  # fmt: skip


class Home:
    """One session with as many snapshots as turns."""

    def __init__(self, folder: Path, databases: Databases, turns: int) -> None:
        self.settings = Settings(home=folder, snapshots_kept=2)
        self.engine = make_engine(folder, databases)
        self.workspace = Workspace(self.settings, SESSION)
        self.workspace.make()
        with writing(self.engine) as db:
            db.add(make_row(SESSION, turns))
        previous = None
        for epoch in range(1, turns + 1):
            (self.workspace.work / "plan.md").write_text(f"plan {epoch}")
            previous = self.workspace.snapshots.save(self.workspace.work, epoch, previous)
            with writing(self.engine) as db:
                record_snapshot(db, SESSION, epoch, previous)

    def known(self) -> list[int]:
        """Epochs of the snapshots that the database knows."""
        with reading(self.engine) as db:
            return sorted(db.exec(select(SnapshotRow.epoch).where(SnapshotRow.session_id == SESSION)).all())

    def stored(self) -> set[int]:
        """Epochs of which the store still has something."""
        folder = self.settings.home / "workspaces" / SESSION
        return {int(path.parent.name) for path in folder.rglob("*") if path.is_file()}


def test_only_the_newest_snapshots_stay(tmp_path: Path, databases: Databases) -> None:
    home = Home(tmp_path, databases, turns=4)
    anyio.run(sweep_all, home.engine, home.settings)
    assert home.known() == [3, 4]
    assert home.stored() == {3, 4}
    home.engine.dispose()


def test_nothing_to_forget_is_swept_while_somebody_writes(tmp_path: Path, databases: Databases) -> None:
    """A daily sweep of ten thousand sessions would else stand in the way of every lease and every answer."""
    home = Home(tmp_path, databases, turns=2)
    (home.settings.home / "workspaces" / SESSION / "1" / ("0" * 64)).write_text("left by a killed turn")
    with writing(home.engine) as db:
        db.add(make_row("1779157376-41e2", 1))
        db.flush()
        sweep_session(home.engine, home.settings, SESSION)
    assert home.known() == [1, 2]
    assert not (home.settings.home / "workspaces" / SESSION / "1" / ("0" * 64)).exists()
    home.engine.dispose()
