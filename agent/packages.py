"""Packages that a session's evaluator requires: installed by this process, where a person has read their names."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from agent.store import reading
from agent.tables import PlanRow
from pilotlight.environments import build_environment
from pilotlight.errors import PermissionDenied
from pilotlight.plan import Plan
from pilotlight.requirements import PROTOCOL_PACKAGES, parse_requirements
from pilotlight.settings import Settings


def install_packages(engine: Engine, settings: Settings, session: str, requirements: Sequence[str]) -> Path:
    """The folder of these packages; the first time they are installed, which can take minutes.

    Raises PermissionDenied for what no approved plan names, InvalidArgument for what is not pinned, FailedPrecondition
    and ResourceExhausted when it cannot be installed.
    """
    pinned = parse_requirements("\n".join(requirements))
    with reading(engine) as db:
        check_packages(db, session, pinned)
    return build_environment(pinned, settings.environments, settings.evaluator_install_seconds).packages


def check_packages(db: Session, session: str, pinned: Sequence[str]) -> None:
    """Raises PermissionDenied unless approved plans of the session name all of them; Eval Protocol's are our choice."""
    plans = db.exec(select(PlanRow).where(PlanRow.session_id == session, col(PlanRow.approved_by).is_not(None)))
    named = {name for plan in plans for name in Plan.model_validate_json(plan.document).packages}
    if missing := [name for name in pinned if name not in named and name not in PROTOCOL_PACKAGES]:
        raise PermissionDenied(
            f"No approved plan of this session names these packages: {', '.join(missing)[:300]}.",
            hint="The plan has to show them before anything of them is installed.",
        )
