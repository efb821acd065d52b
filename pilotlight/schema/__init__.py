"""The version of the control database's schema, and the way from an older one to this release's."""

from pilotlight.schema.migration import check_version, migrate
from pilotlight.schema.version import LATEST

__all__ = ["LATEST", "check_version", "migrate"]
