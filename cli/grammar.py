"""Both grammars of firectl: noun first (`user list`) and the older verb first (`list users`) [F9, F10]."""

_NOUNS = {
    "account": "account", "api-key": "api-key", "apikey": "api-key", "dataset": "dataset", "deployment": "deployment",
    "model": "model", "session": "session", "sftj": "sftj", "supervised-fine-tuning-job": "sftj",
    "fine-tuning-job": "sftj", "dpoj": "dpoj", "dpo-job": "dpoj", "user": "user",
    "evaluator": "evaluator", "evaluation-job": "evaluation-job", "evj": "evaluation-job",
}  # fmt: skip
_VERBS = {"create", "get", "list", "update", "delete", "cancel", "download", "events", "resume", "open", "cleanup"}
_ATTACHED = {"-a", "-p"}
"""Short flags, whose value may follow without a space."""
_WITH_VALUE = {"-a", "--account-id", "--account", "--api-key", "-p", "--profile"}


def normalise(arguments: list[str]) -> list[str]:
    """Rewrite `list users -x` to `user list -x`; global flags may stand before, between or after."""
    front, rest = _split_globals(arguments)
    if len(rest) >= 2 and rest[0] in _VERBS and (noun := _noun(rest[1])):
        rest = [noun, rest[0], *rest[2:]]
    elif rest and (noun := _noun(rest[0])):
        rest = [noun, *rest[1:]]
    return [*front, *rest]


def _noun(word: str) -> str | None:
    return _NOUNS.get(word) or (_NOUNS.get(word[:-1]) if word.endswith("s") else None)


def _split_globals(arguments: list[str]) -> tuple[list[str], list[str]]:
    front: list[str] = []
    rest: list[str] = []
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += [word, *queue]
            break
        if word in _WITH_VALUE and queue:
            front += [word, queue.pop(0)]
        elif (word.split("=", 1)[0] in _WITH_VALUE and "=" in word) or word[:2] in _ATTACHED:
            front.append(word)
        else:
            rest.append(word)
    return front, rest
