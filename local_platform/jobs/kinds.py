"""The collections of fine-tuning jobs: one table, one scheduler and one trainer behind all of them."""

from typing import NamedTuple

from pilotlight.dataset import RowKind
from pilotlight.names import parse_name


class JobKind(NamedTuple):
    """One collection, and what is particular to it."""

    collection: str
    id_field: str
    """Query parameter that names a new job."""
    id_prefix: str
    """Of made-up IDs."""
    folder: str
    """Below the platform's home: job IDs are unique within their collection only."""
    rows: RowKind
    """What its datasets hold."""


SUPERVISED = JobKind("supervisedFineTuningJobs", "supervisedFineTuningJobId", "sftj", "jobs", RowKind.CHAT)
PREFERENCE = JobKind("dpoJobs", "dpoJobId", "dpoj", "dpo-jobs", RowKind.PREFERENCE)
_KINDS = {kind.collection: kind for kind in (SUPERVISED, PREFERENCE)}


def kind_of(job: str) -> JobKind:
    """The kind of a job, by its resource name."""
    return _KINDS[parse_name(job).collection]
