"""Opening a control database: refuse what is too new, bring what is old up to date, in one transaction."""

import logging
from collections.abc import Mapping

from sqlalchemy import Connection, Engine

from pilotlight import __version__, postgres
from pilotlight.errors import FailedPrecondition, Unavailable
from pilotlight.schema.version import LATEST, Step, all_steps, has_versions, read_version, record_version

log = logging.getLogger(__name__)


def migrate(engine: Engine, steps: Mapping[int, Step] | None = None) -> None:
    """Make the database fit for this release; call it before its tables are created. Two at once do it once.

    `steps` are this release's unless given. Raises FailedPrecondition for a database of a newer release and for a
    server that we cannot use, Unavailable for one that cannot be reached.
    """
    try:
        with engine.begin() as db:
            if engine.dialect.name == "postgresql":
                postgres.check_server(db)
            _upgrade(db, all_steps() if steps is None else steps)
    except Unavailable as error:
        reason = " ".join(str(error.__cause__ or error.message).split())
        raise Unavailable(
            f"The control database cannot be opened: {reason}",
            hint="Check PILOTLIGHT_DATABASE_URL, and that the server runs; then start again.",
        ) from error


def check_version(engine: Engine) -> None:
    """For those that only read. Raises FailedPrecondition for a database of a newer release."""
    with engine.execution_options(readonly=True).connect() as db:
        _refuse_newer(read_version(db) or LATEST, LATEST)


def _upgrade(db: Connection, steps: Mapping[int, Step]) -> None:
    found, latest = read_version(db), max(steps, default=1)
    start = latest if found is None else found  # an empty one gets all tables as they are now
    _refuse_newer(start, latest)
    if not has_versions(db):
        record_version(db, start)
    for number in range(start + 1, latest + 1):
        log.info("Bringing the control database to version %s of its schema.", number)
        steps[number](db)
        record_version(db, number)


def _refuse_newer(found: int, latest: int) -> None:
    if found > latest:
        raise FailedPrecondition(
            f"The control database has version {found} of the schema; Pilotlight {__version__} knows up to {latest}.",
            hint="It was opened by a newer release: start that one, or restore a backup from before the upgrade.",
        )
