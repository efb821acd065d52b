"""A recipe's cost: lines with ranges, wall time, and the grants, whose sum is what the preview shows as the most."""

from decimal import Decimal
from typing import NamedTuple

from pilotlight.money import usd
from pilotlight.plan import Candidate, Cost, CostLine, Gate, GrantSpec, Phase, Rule
from pilotlight.pricebook import PriceBook
from runner.calls import grant_of
from runner.planning import requests
from runner.planning.catalogue import BaseFacts
from runner.planning.pricing import Amount, Band, price_seconds
from runner.planning.recipe import DataSide, Recipe
from runner.planning.timing import SCALE_TO_ZERO_SECONDS, asking_seconds, job_seconds, pair_job_seconds, wall_seconds
from runner.scoring.halving import expected_share

MESSAGE_BYTES = 1_000_000
_SETUP_SECONDS = 5.0


class Priced(NamedTuple):
    """A recipe with its price tag."""

    cost: Cost
    grants: list[GrantSpec]

    def granted(self) -> Decimal:
        """What the grants add up to."""
        return sum((grant.max_cost for grant in self.grants), Decimal(0))


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


class Sheet:
    """Lines and grants as they are added up."""

    def __init__(self, prices: PriceBook, band: Band) -> None:
        self.prices, self.band = prices, band
        self.lines: list[CostLine] = []
        self.grants: list[GrantSpec] = []
        self.unknown: list[str] = []

    def priced(self, seconds: float | None) -> Amount:
        """Machine time of one job or replica."""
        return price_seconds(self.prices, seconds, self.band)

    def add(self, phase: Phase, kind: str, text: str, amount: Amount, seconds: float | None) -> None:
        """Add a line; one without a price is listed as unknown."""
        if amount.expected is None or amount.low is None or amount.high is None:
            self.unknown.append(text)
            amount = Amount(Decimal(0), Decimal(0), Decimal(0))
        values = {"phase": phase, "kind": kind, "text": text, "seconds": seconds} | amount._asdict()
        self.lines.append(CostLine.model_validate(values))

    def total(self, so_far: Decimal) -> Priced:
        """The whole price tag."""
        seconds = [line.seconds for line in self.lines]
        known = [value for value in seconds if value is not None]
        cost = Cost(
            lines=self.lines,
            so_far=so_far,
            wall_seconds=sum(known) + _SETUP_SECONDS if len(known) == len(seconds) else None,
            price_source=self.prices.describe(),
            unknown=self.unknown,
        )
        return Priced(cost, self.grants)


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


def slowest_of(seconds: list[float | None]) -> float | None:
    """The longest of alternatives; None where one is unknown."""
    known = [value for value in seconds if value is not None]
    return max(known) if len(known) == len(seconds) else None


def price_evaluation(sheet: Sheet, recipe: Recipe, rest: Rest) -> None:
    """Base and tuned model on one replica."""
    times = [evaluation_seconds(base, recipe.heldout, recipe.prompts, recipe.answer_tokens) for base in recipe.bases]
    known = [seconds for seconds in times if seconds is not None]
    slowest = max(known) if len(known) == len(times) else None
    billed = None if slowest is None else slowest + SCALE_TO_ZERO_SECONDS
    amount = within(sheet.priced(billed), hours_price(sheet.prices, recipe.evaluation_hours))
    text = f"{recipe.prompts} held-out prompts to the base and the tuned model, on one replica (with its idle window)"
    calls = [requests.evaluation_deployment(recipe, candidate) for candidate in rest.options]
    maximum = amount.high or Decimal(0)
    sheet.grants.append(grant_of(calls, rest.gate, Phase.EVALUATE, text, maximum, max_hours=recipe.evaluation_hours))
    deployment = requests.deployment_name(recipe, calls[0])
    models = [f"{requests.tuned_model(recipe, candidate)}#{deployment}" for candidate in rest.options]
    calls_allowed = 6 * recipe.prompts + 200
    sheet.grants.append(chat_grant(recipe, "ask", Phase.EVALUATE, [deployment, *models], rest.gate, calls_allowed))
    sheet.add(Phase.EVALUATE, "inference", text, amount, slowest)


def price_deployment(sheet: Sheet, recipe: Recipe, options: list[Candidate], gate: Gate) -> None:
    """The tuned model on a replica of its own."""
    hours = recipe.deployment_hours
    most = hours_price(sheet.prices, hours)
    idle = sheet.priced(SCALE_TO_ZERO_SECONDS).expected
    amount = Amount(min(idle, most), most, most) if idle is not None and most is not None else Amount(None, None, None)
    text = f"the first {'hour' if hours == 1 else f'{hours:g} hours'} of one replica that sleeps when it is idle"
    calls = [requests.final_deployment(recipe, candidate) for candidate in options]
    sheet.grants.append(grant_of(calls, gate, Phase.DEPLOY, text, amount.high or Decimal(0), max_hours=hours))
    name = requests.deployment_name(recipe, calls[0])
    sheet.grants.append(chat_grant(recipe, "ask-deployed", Phase.DEPLOY, [name], gate, 100))
    speeds = [base.throughput.startup_seconds for base in recipe.bases if base.throughput]
    sheet.add(Phase.DEPLOY, "deployment", text, amount, max(speeds) if speeds else None)


def chat_grant(recipe: Recipe, step: str, phase: Phase, models: list[str], gate: Gate, calls: int) -> GrantSpec:
    """Greedy answers of the session's own models, none longer than the recipe allows."""
    rules = {
        "body.messages": Rule(max_bytes=MESSAGE_BYTES),
        "body.tools": Rule(max_bytes=MESSAGE_BYTES),
        "body.max_tokens": Rule(minimum=1, maximum=recipe.answer_tokens),
        "body.temperature": Rule.exactly(0),
    }
    return asking_grant(recipe.step(step), requests.CHAT, phase, models, gate, calls, rules)


def asking_grant(
    step: str, method: str, phase: Phase, models: list[str], gate: Gate, calls: int, rules: dict[str, Rule]
) -> GrantSpec:
    """Inference costs nothing by the token on a dedicated deployment: its machine time is what is granted."""
    return GrantSpec(
        id=step,
        gate=gate,
        method=method,
        rules={"body.model": Rule(one_of=list(dict.fromkeys(models)))} | rules,
        max_calls=calls,
        max_cost=Decimal(0),
        phase=phase,
        text=f"up to {calls} requests to the session's own deployments",
    )


def hours_price(prices: PriceBook, hours: float) -> Decimal | None:
    """So many hours of one replica; None where its price is unknown."""
    return None if prices.machine_hour is None else usd(Decimal(str(hours)) * prices.machine_hour)


def within(amount: Amount, limit: Decimal | None) -> Amount:
    """An amount whose highest value is the limit that the gateway ends the deployment at."""
    if amount.low is None or amount.expected is None or limit is None:
        return Amount(None, None, None)
    return Amount(min(amount.low, limit), min(amount.expected, limit), limit)


def total_of(amounts: list[Amount]) -> Amount:
    """The sum, unknown where one of them is."""
    lows = [amount.low for amount in amounts if amount.low is not None]
    expected = [amount.expected for amount in amounts if amount.expected is not None]
    highs = [amount.high for amount in amounts if amount.high is not None]
    if len(expected) < len(amounts):
        return Amount(None, None, None)
    return Amount(sum(lows, Decimal(0)), sum(expected, Decimal(0)), sum(highs, Decimal(0)))
