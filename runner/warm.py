"""What a runner would import and build at its start, done once in the process that runners are forked from."""

from importlib import import_module


def warm_up() -> None:
    """Touch what is made or imported only when it is first used."""
    import_module("runner.main")
