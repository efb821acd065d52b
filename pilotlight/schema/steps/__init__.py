"""The steps from one version of the control database's schema to the next: `step_<number>_<what>.py`, from 2 on.

A step has one function, `upgrade(db: Connection) -> None`. New tables need none: every start creates what is missing.
New columns and indexes of a table that exists do, and so does what an older release must not open any more. Write
plain SQL that both databases take, and never import table classes: they are those of today, and a step stays as it
was released.
"""
