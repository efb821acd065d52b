"""Tuned models against their base models by their own answers to held-out prompts: win rates, judged in both orders."""

from langgraph.types import Command

from pilotlight.plan import Phase
from runner import results
from runner.data.rows import text_of
from runner.data.split import choose_sample
from runner.evaluators.scores import EvaluatorUnfit
from runner.judging.court import ORDERS, hear, verdicts_path
from runner.judging.delta import Prompt, Writer, generate, kept_answers, read_prompts
from runner.judging.question import Answer, Known, Question
from runner.judging.scores import ScoreJudge
from runner.keeping import load_kept
from runner.limits import STOPPING, stop_phase, to_trouble
from runner.pair_measuring import Target
from runner.phases.preference import board
from runner.phases.preference.judges import open_judge
from runner.planning.judge_requests import judged_prompts
from runner.planning.recipe import Recipe
from runner.scoring.intervals import Interval, interval_of
from runner.scoring.pairwise import summarise
from runner.turn import Turn


def ask_unseen(turn: Turn, recipe: Recipe, target: Target) -> None:
    """A model's answers to the prompts that no pair was made of; nothing to do where the dataset held pairs."""
    delta = recipe.preference.delta
    if delta is not None:
        writer = Writer(_answers(recipe, target.label), target.model, target.address, delta.most)
        generate(turn, writer, _unseen(turn, recipe))


def judge_tuned(turn: Turn, recipe: Recipe, phase: Phase, name: str, winner: str = "") -> Command[str] | None:
    """Compare every tuned model that was asked with its base model, once; a model judges on the deployment `name`.

    A command where a limit or a failure came in between.
    """
    models = board.measured(turn, recipe, winner)
    bases = {model.base: model for model in models if not model.tuned}
    for model in models:
        if not model.tuned or board.wins_of(turn, recipe, model.label):
            continue
        questions = _questions(turn, recipe, model, bases[model.base])
        label = f"{recipe.generation}-{model.label}"
        opened = open_judge(turn, recipe, name, questions)
        try:
            votes = hear(turn, label, opened.judge, questions, opened.prepare)
        except EvaluatorUnfit as error:
            return to_trouble(phase, f"The answers could not be scored. {error}", [])
        except STOPPING as error:
            return stop_phase(turn, phase, "evaluation", opened.deployment, error)
        found = summarise([question.prompt for question in questions], votes)
        if isinstance(opened.judge, ScoreJudge):
            found |= _mean_scores(turn, label)
        results.save(turn, recipe, f"wins-{model.label}", found)
        turn.artifact(verdicts_path(label), f"Every verdict on {model.label} against its base model")
    return None


def _mean_scores(turn: Turn, label: str) -> dict[str, Interval]:
    """The evaluator's mean scores of both models, from what was kept about the votes."""
    votes = [record for record in load_kept(turn, verdicts_path(label)).values() if record["order"] == ORDERS[0]]
    return {
        "score": interval_of([vote["said"]["first"] for vote in votes]),
        "baseScore": interval_of([vote["said"]["second"] for vote in votes]),
    }


def _questions(turn: Turn, recipe: Recipe, tuned: board.Measured, base: board.Measured) -> list[Question]:
    """One question per prompt, the tuned model's answer on the left."""
    if recipe.preference.delta is None:
        return _known_questions(turn, recipe, tuned, base)
    prompts = _unseen(turn, recipe)
    both = [kept_answers(turn, _answers(recipe, model.label), prompts) for model in (tuned, base)]
    return [Question(one.messages, left, right) for one, left, right in zip(prompts, *both, strict=True)]


def _known_questions(turn: Turn, recipe: Recipe, tuned: board.Measured, base: board.Measured) -> list[Question]:
    """Pairs of one prompt are one question, with all that they prefer; those too long for a model are left out."""
    found: dict[str, Question] = {}
    for probe, mine, other in zip(board.pairs_of(turn, recipe), tuned.readings, base.readings, strict=True):
        if mine.likelihood is None or other.likelihood is None:
            continue
        known = Known(text_of(probe.preferred), text_of(probe.other))
        new = Question(probe.messages, Answer(mine.text), Answer(other.text))
        before = found.get(new.prompt, new)
        found[new.prompt] = before._replace(known=(*before.known, known))
    return list(found.values())


def _unseen(turn: Turn, recipe: Recipe) -> list[Prompt]:
    delta = recipe.preference.delta
    if delta is None:
        return []
    prompts = read_prompts(turn.workspace.data / delta.unseen)
    chosen = choose_sample(len(prompts), judged_prompts(recipe))
    return [prompt for place, prompt in enumerate(prompts) if place in chosen]


def _answers(recipe: Recipe, label: str) -> str:
    return f"{recipe.generation}-{label}"
