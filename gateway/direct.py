"""What a key with a spend limit may do outside of sessions, where nothing reserves for it: only what costs nothing."""

from gateway.rules import on_deployment
from manifest.facts import Call, Verdict

_FREE_KINDS = frozenset({"read", "create", "delete", "catalogue"})
_FREE_CHANGES = frozenset({"UpdateDataset", "UpdateModel", "UpdateEvaluator", "UpdateDeployedModel", "UpdateSecret"})


def is_free(verdict: Verdict, call: Call) -> bool:
    """Whether a call costs nothing that is not bounded already. What is not known to be free is not.

    Inference on a deployment is: its hours were bounded when it was created.
    """
    if verdict.kind in _FREE_KINDS or verdict.method in _FREE_CHANGES:
        return True
    if verdict.kind == "infer":
        return on_deployment(call)
    return verdict.kind == "change" and verdict.method.startswith("Cancel")


REASON = (
    "it can cost money, and the limit of this API key is counted only inside sessions. Start a session instead "
    "(`firectl session create`), or use a key without a spend limit."
)
