"""Packages are installed only where an approved plan of the same session names them."""

from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from agent.packages import check_packages
from agent.tables import PlanRow, SessionRow
from pilotlight.errors import PermissionDenied
from tests.fixtures.plans import plan_of

WANTED = ("rapidfuzz==3.14.1",)
NOBODY: dict[str, Any] = {
    "account": "a", "created_by": "", "created_user": "", "instruction": "", "status": "waiting", "create_time": "",
    "update_time": "",
}  # fmt: skip


def test_only_an_approved_plan_of_the_session_allows_packages(engine: Engine) -> None:
    document = plan_of([], "s").model_copy(update={"packages": list(WANTED)}).canonical()
    with Session(engine) as db:
        for slot, (session, approver) in enumerate((("mine", "ann"), ("asked", None), ("other", "ann"))):
            db.add(SessionRow(id=session, slot=slot, **NOBODY))
            db.flush()
            plan = PlanRow(session_id=session, plan_hash="h", document=document, markdown="", time="")
            plan.approved_by = approver
            db.add(plan)
        db.flush()
        check_packages(db, "mine", WANTED)
        check_packages(db, "nobody", ("eval-protocol==0.3.33",))
        for session, packages in (
            ("asked", WANTED),
            ("nobody", WANTED),
            ("mine", ("rapidfuzz==3.14.2",)),
            ("mine", (*WANTED, "numpy==2.3.0")),
            ("nobody", ("eval-protocol==0.3.32",)),
        ):
            with pytest.raises(PermissionDenied, match="No approved plan"):
                check_packages(db, session, packages)
