"""The judge of a plan, ready to be asked."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import prompts
from runner import serving
from runner.judging.evaluators import Scores
from runner.judging.model import LikelihoodJudge, WritingJudge
from runner.judging.question import Judge, Question
from runner.judging.rules import FormRule, ReferenceRule
from runner.judging.scores import ScoreJudge
from runner.model import ask_model
from runner.planning import judge_requests, requests
from runner.planning.recipe import Recipe
from runner.turn import Turn


class Opened(NamedTuple):
    """A judge; `prepare` is to be called before it is asked, `deployment` is what it is served by (empty: nothing)."""

    judge: Judge
    prepare: Callable[[], object] | None
    deployment: str


def open_judge(turn: Turn, recipe: Recipe, name: str, questions: Sequence[Question]) -> Opened:
    """The plan's judge of these questions; a model is served by the deployment `name`."""
    task = recipe.preference.judge
    if task.kind == "reference":
        return Opened(ReferenceRule(task.metric), None, "")
    if task.kind == "planner":
        return Opened(WritingJudge(lambda text: _ask_planner(turn, text), task.name, task.criterion), None, "")
    if task.kind == "evaluator":
        scores = Scores(turn, task, questions)
        return Opened(ScoreJudge(scores.of, task.name, task.criterion), scores.fill, "")
    if task.kind == "form" or task.model is None:
        return Opened(FormRule(), None, "")
    call = judge_requests.asked_deployment(recipe, name, task.model)
    deployment = requests.deployment_name(recipe, call)
    judge = LikelihoodJudge(turn, deployment, task.model.id, task.criterion)
    return Opened(judge, lambda: serving.create(turn, call, deployment), deployment)


def _ask_planner(turn: Turn, text: str) -> str:
    messages = [{"role": "user", "content": text}]
    return ask_model(turn, prompts.render("judge_system.md.j2"), messages, judge_requests.VERDICT_TOKENS).text
