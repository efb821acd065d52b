"""Collect what a plan follows from: profiles from the workspace, base models and cost so far from outside."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from pilotlight.clock import now
from pilotlight.errors import FailedPrecondition
from pilotlight.money import usd
from runner.data.findings import Finding
from runner.data.profile import Profile
from runner.data.sides import Sides, Source, leaked_rows, make_sides
from runner.data.split import SWEEP_ROWS
from runner.data.store import load_facts, load_source
from runner.planning.allowance import planner_lines
from runner.planning.catalogue import BaseFacts, find_base
from runner.planning.draft import Inputs
from runner.turn import Turn

MOST_SWEPT = 4
"""Base models that are compared where the user named none [A167]."""
PLAN_LIFETIME = timedelta(days=7)


def split_data(turn: Turn, intent: dict[str, Any]) -> Sides:
    """Make the sides that the intent asks for; the files are the same whenever it is the same intent."""
    source = _source(turn, "train")
    evaluation = load_source(turn.workspace, "eval") if intent.get("eval_dataset") else None
    rows = int(intent.get("hp_samples") or SWEEP_ROWS)
    prefix = (turn.context.account, turn.context.session)
    return make_sides(turn.workspace, prefix, source, evaluation, rows, intent.get("train_fraction"))


def collect(
    turn: Turn,
    intent: dict[str, Any],
    sides: Sides,
    bases: list[BaseFacts],
    generation: int,
    without: tuple[str, ...] = (),
) -> Inputs:
    """Everything draft_plan() needs; kinds of findings named in `without` are left out."""
    facts = load_facts(turn.workspace, "train") or {}
    source = _source(turn, "train")
    evaluation = load_source(turn.workspace, "eval") if intent.get("eval_dataset") else None
    scales = facts.get("token_scales", {})
    default = facts.get("token_scale", 1.0)
    scaled = [base.model_copy(update={"token_scale": scales.get(base.name, default)}) for base in bases]
    cost = turn.client.get("/turn/v1/cost")
    so_far = usd(str(cost.get("soFar") or 0)) + usd(str(cost.get("reserved") or 0))
    return Inputs(
        context=turn.context,
        intent=intent,
        source=source.name,
        content_hash=str(facts.get("content_hash", "")),
        rows=source.profile.rows,
        findings=[f.sentence() for f in list_findings(source, evaluation, scaled) if f.code not in without],
        token_method=str(facts.get("token_method", "")),
        sides=sides,
        bases=scaled,
        generation=generation,
        so_far=so_far if so_far > 0 else Decimal(0),
        expires=now() + PLAN_LIFETIME,
        planner=tuple(planner_lines(cost)),
    )


def chosen_bases(intent: dict[str, Any], bases: list[BaseFacts]) -> tuple[list[BaseFacts], list[str]]:
    """The base models that the intent names, and the names that this platform does not know.

    A classification never takes all of them [A180]. Preference learning without a name takes a few of them [A167]: the
    smallest ones.
    """
    wanted = [str(name) for name in intent.get("base_models") or []]
    if intent.get("workflow") == "preference" and not wanted:
        return bases[:MOST_SWEPT], []
    if intent.get("sweep_base_models") and not wanted and intent.get("workflow") != "classification":
        return bases, []
    found = [(name, find_base(name, bases)) for name in wanted]
    known = {base.name: base for _, base in found if base is not None}
    return list(known.values()), [name for name, base in found if base is None]


def list_findings(source: Source, evaluation: Source | None, bases: list[BaseFacts]) -> list[Finding]:
    """Findings of the data, with those that need the base model or the evaluation dataset."""
    findings = list(source.profile.findings)
    if evaluation is not None and (leaked := leaked_rows(source.profile, evaluation.profile)):
        lines = [(source.profile.lines[at], "also in the evaluation dataset") for at in leaked[:10]]
        findings.append(Finding("leakage", "warning", len(leaked), lines))
    for base in bases:
        if base.context_length and (finding := _over_long(source.profile, base)):
            findings.append(finding)
    if conversions := sum(source.profile.conversions.values()):
        names = ", ".join(source.profile.conversions)
        findings.append(Finding("converted", "info", conversions, [(1, names)]))
    return findings


def _over_long(profile: Profile, base: BaseFacts) -> Finding | None:
    limit = (base.context_length or 0) / base.token_scale
    places = [at for at, tokens in enumerate(profile.tokens) if tokens > limit]
    if not places:
        return None
    lines = [(profile.lines[at], f"about {profile.tokens[at] * base.token_scale:.0f} tokens") for at in places[:10]]
    return Finding("over_long", "warning", len(places), lines)


def _source(turn: Turn, role: str) -> Source:
    source = load_source(turn.workspace, role)
    if source is None:
        raise FailedPrecondition("The dataset has not been inspected yet.")
    return source
