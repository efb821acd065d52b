"""The steps from one version of the control database's schema to the next: `step_<number>_<what>.py`, from 2 on.

A step has one function, `upgrade(db: Connection) -> None`. It changes tables that exist; new tables need no step, since
every start creates those that are missing. Write plain SQL that both databases take, and never import table classes:
they are those of today, and a step stays as it was released.
"""
