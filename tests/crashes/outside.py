"""Each effect outside of the control process once, owned by the session that caused it, and approved."""

import json
from collections import Counter
from collections.abc import Iterator

from tests.crashes.case import Case

_METHODS = {"job": "CreateSupervisedFineTuningJob", "deployment": "CreateDeployment"}


def check_outside(case: Case) -> Iterator[str]:
    """Nothing was created twice, by nobody, or without a grant; no two trainers worked on one job at a time."""
    made = [row for row in case.effects if row["what"] == "create" and "/fireworks/" not in row["name"]]
    yield from _check_once(case, made)
    owners = {row["name"]: row["session"] for row in case.tables["gateway_owners"]}
    for row in made:
        if _by_session(row["name"]) and not owners.get(row["name"]) and row["kind"] != "deployed":
            yield f"{row['name']} belongs to nobody"
        if (method := _METHODS.get(row["kind"])) and (session := owners.get(row["name"])):
            step = row["name"].partition(f"ft-{session}-")[2]
            specs = [(grant["method"], grant["spec"]) for grant in case.rows("gateway_grants", session)]
            if (method, step) not in specs:
                yield f"{row['name']} was created without a grant"
    yield from _check_ends(case)
    for row in case.tables["gateway_effects"]:
        if row["state"] != "done" and row["reservation"] is not None:
            yield f"{row['scope']} {row['key']}: its outcome is not known"
    yield from (f"{line['job']}: two trainers at a time" for line in case.trainers if line.get("alone") is False)


def _check_once(case: Case, made: list[dict[str, object]]) -> Iterator[str]:
    counts = Counter((row["kind"], row["name"]) for row in made)
    yield from (f"the {kind} {name} was created {count} times" for (kind, name), count in counts.items() if count > 1)
    pairs: Counter[str] = Counter()
    for row in made:
        body = row["body"]
        if row["kind"] == "deployed" and isinstance(body, dict):
            pairs[json.dumps([body["model"], body["deployment"]])] += 1
    yield from (f"{pair} was loaded {count} times" for pair, count in pairs.items() if count > 1)


def _check_ends(case: Case) -> Iterator[str]:
    """Each job that was created and not cancelled ended well, once, with its model."""
    ends = Counter(
        row["name"] for row in case.effects if row["kind"] == "job" and row["state"] == "JOB_STATE_COMPLETED"
    )
    models = {row["body"].get("fineTuningJob") for row in case.effects if row["kind"] == "model"}
    for row in case.effects:
        if row["kind"] == "job" and row["what"] == "create":
            if ends[row["name"]] != 1 + _deletions(case, row["name"]):
                yield f"{row['name']} ended {ends[row['name']]} times"
            if row["name"] not in models:
                yield f"{row['name']} has no model"


def _deletions(case: Case, name: str) -> int:
    """A deletion is logged with the last state."""
    return sum(row["what"] == "delete" and row["name"] == name for row in case.effects)


def _by_session(name: str) -> bool:
    return "/ft-" in name
