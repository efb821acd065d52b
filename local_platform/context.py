"""What the routes of the local platform share: one `Platform` per process, on `app.state.platform`."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine
from sqlmodel import Session, SQLModel

from local_platform import tables
from local_platform.resources import get
from local_platform.storage.blobs import BlobStore
from local_platform.storage.signing import Signer, load_secret
from pilotlight.database import open_engine
from pilotlight.errors import FailedPrecondition
from pilotlight.identity import bootstrap
from pilotlight.names import CATALOGUE_ACCOUNT
from pilotlight.settings import Settings

KEY_FILE = "admin.key"


@dataclass
class Platform:
    """Engine, files and workers of one local platform."""

    settings: Settings
    engine: Engine
    blobs: BlobStore
    signer: Signer

    @property
    def home(self) -> Path:
        """All state is below this folder."""
        return self.settings.platform_home

    @property
    def account(self) -> str:
        """The account this platform serves, beside the catalogue."""
        return self.settings.account

    def reading(self) -> Session:
        """A session that never waits for a writer and must not write."""
        return Session(self.engine.execution_options(readonly=True))

    def writing(self) -> Session:
        """A session whose transaction excludes other writers from its first statement on; commit it yourself."""
        return Session(self.engine)

    def dataset_path(self, name: str) -> Path:
        """The JSONL file of a READY dataset. Raises NotFound, FailedPrecondition.

        The file goes when the dataset is deleted: hard-link or open it to keep it.
        """
        with self.reading() as db:
            row = get(db, tables.DatasetRow, name)
            digest = row.body.get("contentHash")
        if row.state != "READY" or not digest:
            raise FailedPrecondition(f"Dataset {name} is {row.state}, not READY.", hint="Upload and validate its file.")
        return self.blobs.path(digest)

    def model_directory(self, name: str) -> Path:
        """The folder of a READY model: a checkpoint, or a PEFT adapter. Raises NotFound, FailedPrecondition."""
        with self.reading() as db:
            row = get(db, tables.ModelRow, name)
            directory = row.body.get("_directory")
        if row.state != "READY" or not directory:
            raise FailedPrecondition(f"Model {name} is {row.state}, not READY.", hint="Upload and validate its files.")
        return Path(directory)

    def new_model_directory(self, name: str) -> Path:
        """Where the files of a new model of the account go; not created."""
        return self.home / "models" / name.replace("accounts/", "", 1).replace("/models/", "/")

    def remove_model_directory(self, directory: Path | str) -> None:
        """Delete a model's folder if it lies in our own store; imported checkpoints elsewhere are left alone."""
        if (self.home / "models").resolve() in Path(directory).resolve().parents:
            shutil.rmtree(directory, ignore_errors=True)


def open_platform(settings: Settings) -> Platform:
    """Open or create the state under `settings.platform_home`; on first start also the account and its admin key."""
    home = settings.platform_home
    home.mkdir(parents=True, exist_ok=True)
    if settings.account == CATALOGUE_ACCOUNT:
        raise FailedPrecondition(f"The account {CATALOGUE_ACCOUNT} is the catalogue's.", hint="Choose another account.")
    engine = open_engine(f"sqlite:///{home / 'platform.db'}")
    own = [table for name, table in SQLModel.metadata.tables.items() if name.startswith("platform_")]
    SQLModel.metadata.create_all(engine, tables=own)
    bootstrap(engine, settings.account, home / KEY_FILE, reissue=True)
    return Platform(settings, engine, BlobStore(home / "blobs"), Signer(load_secret(home / "signing.key")))


def _platform(request: Request) -> Platform:
    return request.app.state.platform


PlatformDep = Annotated[Platform, Depends(_platform)]
