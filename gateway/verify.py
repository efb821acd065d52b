"""`python -m gateway.verify`: check the audit log's hash chain; exit 1 if it is broken, 2 if it cannot be read."""

import sys

from gateway.audit import import_head, verify
from pilotlight.database import open_engine
from pilotlight.errors import PilotlightError
from pilotlight.schema import check_version
from pilotlight.settings import Settings


def main() -> int:
    """Verify the control database of this home, against its last exported head where there is one."""
    settings = Settings()
    exported = settings.home / "audit.head"
    anchor = import_head(exported) if exported.exists() else None
    try:
        engine = open_engine(settings.control_database_url)
        check_version(engine)
        report = verify(engine, anchor)
        engine.dispose()
    except PilotlightError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    if not report.intact:
        sys.stdout.write(f"BROKEN at row {report.first_bad}: {report.problem}. {report.rows} rows were read.\n")
        return 1
    sys.stdout.write(f"The audit log holds: {report.rows} rows, head {report.head.seq} {report.head.hash}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
