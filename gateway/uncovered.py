"""Why a call is not what was approved."""


class Uncovered(Exception):
    """A call is not what was approved: `rule` for machines, the text for people."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
