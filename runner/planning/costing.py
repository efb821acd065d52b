"""A recipe's cost: lines with ranges, wall time, and the grants, whose sum is what the preview shows as the most."""

from decimal import Decimal
from typing import NamedTuple

from pilotlight.money import usd
from pilotlight.plan import Candidate, Gate, Phase
from pilotlight.pricebook import PriceBook
from runner.calls import grant_of
from runner.planning import requests
from runner.planning.asking import SPARE_CALLS, Asked, answer_grant, price_asked
from runner.planning.catalogue import BaseFacts
from runner.planning.pricing import Amount, Band
from runner.planning.recipe import DataSide, Recipe
from runner.planning.sheet import Priced, Sheet, hours_price, slowest_of, total_of
from runner.planning.timing import SCALE_TO_ZERO_SECONDS, asking_seconds, job_seconds, pair_job_seconds, wall_seconds
from runner.scoring.halving import expected_share


class Rest(NamedTuple):
    """What of a recipe is still to do: train `candidates`, then go on with one of `options`."""

    candidates: list[Candidate]
    options: list[Candidate]
    final: bool
    evaluation: bool
    gate: Gate
    """Which approval the part after the sweep needs."""
    comparing: bool = True
    """Whether models are still to be compared in the sweep, where the workflow does so by asking them."""
    asked: frozenset[str] = frozenset()
    """Labels of the models whose answers are kept: they are not asked again."""


def everything(recipe: Recipe) -> Rest:
    """All of it, as before the first approval."""
    candidates = recipe.candidates if recipe.sweep else []
    return Rest(candidates, recipe.candidates, recipe.final, True, "promotion" if recipe.sweep else "plan_approval")


def price(recipe: Recipe, prices: PriceBook, band: Band, so_far: Decimal, rest: Rest | None = None) -> Priced:
    """Price everything a recipe will do, or the `rest` of it."""
    rest = rest or everything(recipe)
    sheet = Sheet(prices, band)
    if rest.candidates:
        _price_sweep(sheet, recipe, rest.candidates)
    if rest.final:
        price_final(sheet, recipe, rest.options, rest.gate)
    if rest.evaluation:
        price_evaluation(sheet, recipe, rest)
    price_deployment(sheet, recipe, rest.options, rest.gate)
    return sheet.total(so_far)


def evaluation_seconds(base: BaseFacts, heldout: DataSide, prompts: int, longest: int) -> float | None:
    """Asking the base and the tuned model, in tokens of this base."""
    answer = round(heldout.mean_answer_tokens * base.token_scale)
    prompt = round(heldout.mean_prompt_tokens * base.token_scale)
    return asking_seconds(base.throughput, prompts, answer, prompt, longest)


def candidate_seconds(recipe: Recipe, candidate: Candidate) -> float | None:
    """The time of one run of the sweep."""
    return _train_seconds(recipe, candidate.base_model, recipe.sample.tokens, candidate.epochs)


def final_seconds(recipe: Recipe, candidate: Candidate) -> float | None:
    """The time of the run on the whole training side with the settings of `candidate`."""
    return _train_seconds(recipe, candidate.base_model, recipe.train.tokens, recipe.final_epochs)


def _train_seconds(recipe: Recipe, base: str, tokens: int, epochs: float) -> float | None:
    facts = recipe.base(base)
    sizes = round(tokens * facts.token_scale), epochs, round(recipe.heldout.tokens * facts.token_scale)
    if recipe.pairs is not None:
        seconds = pair_job_seconds(facts.throughput, *sizes, reference=recipe.pairs.method == "DPO")
    else:
        seconds = job_seconds(facts.throughput, *sizes)
    return None if seconds is None else seconds * recipe.slowness.get(base, 1.0)


def _price_sweep(sheet: Sheet, recipe: Recipe, candidates: list[Candidate]) -> None:
    price_candidates(sheet, recipe, [[candidate] for candidate in candidates])


def price_candidates(sheet: Sheet, recipe: Recipe, slots: list[list[Candidate]]) -> None:
    """The jobs of the sweep: one per slot, which is granted for any one of the slot's alternatives."""
    times = [slowest_of([candidate_seconds(recipe, candidate) for candidate in slot]) for slot in slots]
    amounts = [sheet.priced(seconds) for seconds in times]
    for slot, amount in zip(slots, amounts, strict=True):
        text = f"candidate {slot[0].id}: {slot[0].settings()}"
        calls = [requests.candidate_job(recipe, candidate) for candidate in slot]
        sheet.grants.append(grant_of(calls, "plan_approval", Phase.SWEEP, text, amount.high or Decimal(0)))
    share = expected_share(len(slots), max(slot[0].epochs for slot in slots)) if recipe.prune else 1.0
    known = [seconds * share for seconds in times if seconds is not None]
    at_once = min(
        recipe.max_parallel, max((b.throughput.concurrent_jobs for b in recipe.bases if b.throughput), default=1)
    )
    wall = wall_seconds(known, at_once) if len(known) == len(times) else None
    text = f"{len(times)} candidate{'s' if len(times) > 1 else ''} on {recipe.sample.rows:,} rows, {at_once} at a time"
    text += ", the weaker half stopped at each rung" if share < 1 else ""
    sheet.add(Phase.SWEEP, "training", text, _shared(total_of(amounts), share), wall)


def _shared(amount: Amount, share: float) -> Amount:
    """What is expected when only this share is trained; at most it may still be all: none may be the weaker one."""
    if amount.low is None or amount.expected is None:
        return amount
    part = Decimal(str(share))
    return Amount(usd(amount.low * part), usd(amount.expected * part), amount.high)


def price_final(sheet: Sheet, recipe: Recipe, options: list[Candidate], gate: Gate) -> None:
    """The run on the whole training side with the settings of one of `options`."""
    slowest = slowest_of([final_seconds(recipe, candidate) for candidate in options])
    amount = sheet.priced(slowest)
    text = f"one run on all {recipe.train.rows:,} training rows, {recipe.final_epochs:g} epochs"
    calls = [requests.final_job(recipe, candidate) for candidate in options]
    sheet.grants.append(grant_of(calls, gate, Phase.TRAIN, text, amount.high or Decimal(0)))
    sheet.add(Phase.TRAIN, "training", text, amount, slowest)


def price_evaluation(sheet: Sheet, recipe: Recipe, rest: Rest) -> None:
    """Base and tuned model on one replica."""
    times = [evaluation_seconds(base, recipe.heldout, recipe.prompts, recipe.answer_tokens) for base in recipe.bases]
    text = f"{recipe.prompts} held-out prompts to the base and the tuned model, on one replica (with its idle window)"
    calls = [requests.evaluation_deployment(recipe, candidate) for candidate in rest.options]
    deployment = requests.deployment_name(recipe, calls[0])
    models = [deployment, *(f"{requests.tuned_model(recipe, one)}#{deployment}" for one in rest.options)]
    hours, seconds = recipe.evaluation_hours, slowest_of(times)
    asked = Asked("eval", Phase.EVALUATE, rest.gate, text, calls, models, hours, seconds)
    price_asked(sheet, asked, [answer_grant(recipe, "ask", asked, 6 * recipe.prompts + SPARE_CALLS)])


def price_deployment(sheet: Sheet, recipe: Recipe, options: list[Candidate], gate: Gate) -> None:
    """The tuned model on a replica of its own."""
    hours = recipe.deployment_hours
    most = hours_price(sheet.prices, hours)
    idle = sheet.priced(SCALE_TO_ZERO_SECONDS).expected
    amount = Amount(min(idle, most), most, most) if idle is not None and most is not None else Amount(None, None, None)
    text = f"the first {'hour' if hours == 1 else f'{hours:g} hours'} of one replica that sleeps when it is idle"
    calls = [requests.final_deployment(recipe, candidate) for candidate in options]
    sheet.grants.append(grant_of(calls, gate, Phase.DEPLOY, text, amount.high or Decimal(0), max_hours=hours))
    models = [requests.deployment_name(recipe, calls[0])]
    asked = Asked("deploy", Phase.DEPLOY, gate, text, calls, models, hours, None)
    sheet.grants.append(answer_grant(recipe, "ask-deployed", asked, 100))
    speeds = [base.throughput.startup_seconds for base in recipe.bases if base.throughput]
    sheet.add(Phase.DEPLOY, "deployment", text, amount, max(speeds) if speeds else None)
