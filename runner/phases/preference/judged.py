"""Tuned models against their base models by their own answers to held-out prompts: win rates, judged in both orders."""

from langgraph.types import Command

from pilotlight.plan import Phase
from runner import results
from runner.data.rows import text_of
from runner.data.split import choose_sample
from runner.judging.court import hear, verdicts_path
from runner.judging.delta import Prompt, Writer, generate, kept_answers, read_prompts
from runner.judging.question import Answer, Known, Question
from runner.limits import STOPPING, stop_phase
from runner.pair_measuring import Target
from runner.phases.preference import board
from runner.phases.preference.judges import open_judge
from runner.planning.judge_requests import judged_prompts
from runner.planning.recipe import Recipe
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
    opened = open_judge(turn, recipe, name)
    for model in models:
        if not model.tuned or board.wins_of(turn, recipe, model.label):
            continue
        questions = _questions(turn, recipe, model, bases[model.base])
        label = f"{recipe.generation}-{model.label}"
        try:
            votes = hear(turn, label, opened.judge, questions, opened.prepare)
        except STOPPING as error:
            return stop_phase(turn, phase, "evaluation", opened.deployment, error)
        found = summarise([question.prompt for question in questions], votes)
        results.save(turn, recipe, f"wins-{model.label}", found)
        turn.artifact(verdicts_path(label), f"Every verdict on {model.label} against its base model")
    return None


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
