"""Format B: pairs are made from prompts before training, and shown [A162, A166]. The user's dataset is not touched."""

import hashlib
from array import array
from typing import Any

from langgraph.types import Command

import prompts
from pilotlight.dataset import prompt_key
from pilotlight.plan import Phase
from runner import datasets, results, serving
from runner.data.pair_profile import both_sides
from runner.data.profile import estimate_tokens
from runner.data.sides import LEAST_ROWS, describe_side
from runner.data.split import choose_heldout
from runner.evaluators.scores import EvaluatorUnfit
from runner.judging.court import hear, verdicts_path
from runner.judging.delta import (
    Harvest,
    Prompt,
    Writer,
    answers_path,
    as_lines,
    can_differ,
    generate,
    harvest,
    read_prompts,
)
from runner.judging.question import Answer, Question
from runner.limits import STOPPING, stop_phase, to_trouble
from runner.phases.preference.judges import open_judge
from runner.planning import judge_requests, requests
from runner.planning.catalogue import BaseFacts
from runner.planning.judge_task import DeltaTask
from runner.planning.recipe import DataSide, Recipe
from runner.results import RECIPE
from runner.turn import Turn

PROVENANCE = "outputs/pairs_provenance.json"
SAMPLE = "outputs/pairs_sample.md"
_SHOWN = 5


def make_pairs(turn: Turn, recipe: Recipe) -> Recipe | Command[str]:
    """The recipe with its pairs, made once; unchanged where the dataset held pairs.

    Else where to go: to the question for more at a limit, to trouble where too few prompts gave a pair.
    """
    delta = recipe.preference.delta
    if delta is None or delta.done:
        return recipe
    given = read_prompts(turn.workspace.data / delta.prompts)
    answers: list[list[Answer]] = []
    for name, base in ((judge_requests.STRONG, delta.strong), (judge_requests.WEAK, delta.weak)):
        written = _write(turn, recipe, name, base, given)
        if isinstance(written, Command):
            return written
        answers.append(written)
    questions = [Question(one.messages, *both) for one, both in zip(given, zip(*answers, strict=True), strict=True)]
    made = _judge(turn, recipe, given, questions)
    return made if isinstance(made, Command) else _keep(turn, recipe, delta, made)


def _write(turn: Turn, recipe: Recipe, name: str, base: BaseFacts, given: list[Prompt]) -> list[Answer] | Command[str]:
    delta = recipe.preference.delta
    assert delta is not None
    call = judge_requests.asked_deployment(recipe, name, base)
    deployment = requests.deployment_name(recipe, call)
    turn.say(f"The {name} model, {base.id}, answers {len(given):,} prompts.", f"generate/{recipe.generation}/{name}")
    writer = Writer(f"{recipe.generation}-{name}", base.name, deployment, delta.most)
    try:
        written = generate(turn, writer, given, lambda: serving.create(turn, call, deployment))
    except STOPPING as error:
        return stop_phase(turn, Phase.SWEEP, "evaluation", deployment, error)
    results.save(turn, recipe, f"predictions-{name}", {"complete": True})  # a plan for the rest leaves it out
    return written


def _judge(turn: Turn, recipe: Recipe, given: list[Prompt], questions: list[Question]) -> Harvest | Command[str]:
    differing = [question for question in questions if not can_differ(question)]
    opened = open_judge(turn, recipe, judge_requests.PAIR_JUDGE, differing)
    try:
        votes = iter(hear(turn, f"{recipe.generation}-pairs", opened.judge, differing, opened.prepare))
    except EvaluatorUnfit as error:
        return to_trouble(Phase.SWEEP, f"The answers could not be scored. {error}", [])
    except STOPPING as error:
        return stop_phase(turn, Phase.SWEEP, "evaluation", opened.deployment, error)
    return harvest(given, questions, [None if can_differ(question) else next(votes) for question in questions])


def _keep(turn: Turn, recipe: Recipe, delta: DeltaTask, made: Harvest) -> Recipe | Command[str]:
    """Two datasets of the pairs: to train on, and held out of training to measure on. Both shown before training."""
    train, heldout = _divide(made.rows)
    if len(train) < LEAST_ROWS or len(heldout) < LEAST_ROWS:
        text = prompts.render("pair_counts.md.j2", counts=made.counts, delta=delta)
        return to_trouble(Phase.SWEEP, f"Too few prompts gave a pair to learn from. {text}{_advice(recipe)}", [])
    sides = {
        "train": _side(turn, recipe.train, f"pairs-{delta.made}", train),
        "sample": _side(turn, recipe.train, f"pairs-{delta.made}", train),
        "heldout": _side(turn, recipe.heldout, f"pairs-heldout-{delta.made}", heldout),
    }
    task = recipe.preference.model_copy(
        update={"delta": delta.model_copy(update={"done": True, "counts": made.counts})}
    )
    ready = recipe.model_copy(update={**sides, "pairs": task, "prompts": min(recipe.prompts, sides["heldout"].rows)})
    datasets.publish(turn, [ready.train, ready.heldout])
    _show(turn, ready, delta, made)
    turn.workspace.write_json(RECIPE, ready.model_dump(mode="json"))
    return ready


def _advice(recipe: Recipe) -> str:
    judge = recipe.preference.judge
    if judge.model is None:
        return " Other models, other prompts or more of them would give other pairs."
    return f" {judge.model.id} may be too small to judge: name a larger judge, or none, and a rule decides."


def _divide(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Pairs of one prompt stay on one side."""
    keys = array("Q", [int(prompt_key(row)[:16], 16) for row in rows])
    chosen = choose_heldout(keys) if keys else set[int]()
    train = [row for row, key in zip(rows, keys, strict=True) if key not in chosen]
    return train, [row for row, key in zip(rows, keys, strict=True) if key in chosen]


def _side(turn: Turn, planned: DataSide, step: str, rows: list[dict[str, Any]]) -> DataSide:
    text = as_lines(rows)
    path = turn.workspace.write_text(f"data/{step}.jsonl", text)
    tokens = sum(estimate_tokens(messages) for row in rows for messages in both_sides(row))
    return describe_side(planned.name, path, hashlib.sha256(text.encode()).hexdigest(), len(rows), tokens)


def _show(turn: Turn, recipe: Recipe, delta: DeltaTask, made: Harvest) -> None:
    judge = recipe.preference.judge
    values: dict[str, Any] = {"counts": made.counts, "delta": delta, "judge": judge, "recipe": recipe}
    sample = prompts.render("pairs_sample.md.j2", rows=made.rows[:_SHOWN], **values)
    turn.workspace.write_text(SAMPLE, sample)
    turn.workspace.write_json(PROVENANCE, _provenance(recipe, delta, made))
    turn.artifact(SAMPLE, "A sample of the pairs that were made")
    turn.artifact(PROVENANCE, "Where the pairs come from")
    for name in (judge_requests.STRONG, judge_requests.WEAK):
        turn.artifact(answers_path(f"{recipe.generation}-{name}"), f"Every answer of the {name} model")
    turn.artifact(verdicts_path(f"{recipe.generation}-pairs"), "Every verdict on the pairs")
    turn.say(prompts.render("pairs_made.md.j2", **values), f"generate/{recipe.generation}/made")


def _provenance(recipe: Recipe, delta: DeltaTask, made: Harvest) -> dict[str, Any]:
    judge = recipe.preference.judge
    return {
        "source": recipe.source,
        "method": "delta learning: two models answer each prompt, and a judge decides in both orders",
        "strongModel": delta.strong.name,
        "weakModel": delta.weak.name,
        "judge": judge.model.name if judge.model else judge.name,
        "criterion": judge.criterion,
        "temperature": 0,
        "maxTokens": delta.most,
        "made": delta.made,
        "trainingPairs": {"dataset": recipe.train.name, "rows": recipe.train.rows, "sha256": recipe.train.digest},
        "heldoutPairs": {"dataset": recipe.heldout.name, "rows": recipe.heldout.rows, "sha256": recipe.heldout.digest},
        "heldoutPrompts": {"rows": delta.unseen_rows, "used": "for no pair; models are compared on them"},
        "counts": made.counts,
    }
