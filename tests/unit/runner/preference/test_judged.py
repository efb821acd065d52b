"""Answers judged in whole sessions, and pairs made from prompts: through the real graph, against scripted models."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest
import scipy.stats
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pilotlight.dataset import scan
from pilotlight.pricebook import load_planner_prices
from pilotlight.question import QuestionKind
from pilotlight.sources import pack
from runner.judging.rules import FormRule
from tests.fixtures.judge_models import answers_in
from tests.fixtures.planner_desk import open_desk
from tests.fixtures.runner_kills import ALL_PHASES, arm_requests, drive, ended_phases
from tests.unit.runner.preference.conftest import PAIRS, PairServer

PROMPTS = "accounts/local/datasets/prompts-only"
ROWS = 60


def improved(model: str, asked: str) -> str:
    """A tuned model answers as the data prefers, a base model as it rejects."""
    return "good: it is done" if "#" in model else "bad: never ask again"


def signed(model: str, asked: str) -> str:
    return f"an answer of {model}"


def constant(model: str, asked: str) -> str:
    return "always the same"


def differing(model: str, asked: str) -> str:
    """The strong and the tuned models take up what is asked, the weak and the base model repeat themselves.

    To every fifth prompt all say the same, to every seventh the weak model says nothing.
    """
    number = int(asked.split("#")[1].split()[0])
    if number % 5 == 0:
        return "the same"
    if "#" in model or model.endswith("strong"):
        return f"About {asked} I can say this"
    return "" if model.endswith("weak") and number % 7 == 0 else "no no no no no no no no"


def prompt(number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"Help with order #{number} , the {number * 7919 % 9973}th"}]}


@pytest.fixture
def prompts_only(control: Any) -> Any:
    control.add_dataset(PROMPTS, [prompt(number) for number in range(ROWS)])
    control.says = differing
    control.instructions = [f"Run DPO on {PROMPTS} using ember-500k. Skip HP tuning. Generate preference pairs."]
    return control


def lines(desk: Any, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (desk.work / path).read_text().splitlines()]


def texts(rows: list[dict[str, Any]]) -> set[str]:
    return {(row.get("input") or row)["messages"][-1]["content"] for row in rows}


def made(control: Any) -> dict[str, list[dict[str, Any]]]:
    """The datasets that the session made, by role."""
    names = {name: "heldout" if "heldout" in name else "train" for name in control.files if "/ft-" in name}
    return {role: [json.loads(row) for row in control.files[name].splitlines()] for name, role in names.items()}


def test_tuned_answers_are_judged_against_the_base_models(desk: Any, control: Any) -> None:
    control.says = improved
    control.instructions = [f"Run DPO on {PAIRS} using ember-1m. Stop early once we reach 75% win rate."]
    desk.run()
    plan = control.plans[control.ask_open().plan_hash]
    assert (plan.preference.judge, plan.preference.given) == ("a rule", False)
    assert "the preferred answer of the same prompt" in plan.preference.criterion
    control.reply()
    desk.run()
    assert len(control.jobs) == 2  # as many as run at a time: both reach the target
    text = control.ask_open().text
    assert "**met**" in text
    assert "I recommend to deploy" in text
    votes = lines(desk, "outputs/verdicts-1-c1.jsonl")
    assert len(votes) == 24
    wins = sum(vote["first" if vote["order"] == "forward" else "second"].startswith("good") for vote in votes) // 2
    bounds = scipy.stats.binomtest(wins, 12).proportion_ci(0.95, method="wilson")
    assert f"{wins / 12 * 100:.1f} % ({bounds.low * 100:.1f} to {bounds.high * 100:.1f}) | 12 | 0 | 0 | 0 |" in text
    control.reply()
    desk.run()
    assert "**Win rate**" in (desk.work / "final_report.md").read_text()


def test_a_judge_by_position_is_said_to_be_one(desk: Any, control: Any) -> None:
    """A model judges by the user's rubric, on a deployment that the plan grants, and always finds A more likely."""

    def position(model: str, answer: str) -> float:
        return {"A": -0.1, "B": -2.0}.get(answer, -1.0)

    control.finds = position
    control.says = signed
    control.instructions = [
        f"Run DPO on {PAIRS} using ember-500k. Skip HP tuning. Rubric: the kinder answer is better."
    ]
    desk.run()
    assert control.ask_open().plan_hash, control.ask_open().text
    plan = control.plans[control.ask_open().plan_hash]
    assert plan.preference.judge == "ember-1m"
    assert (plan.preference.criterion, plan.preference.given) == ("the kinder answer is better", True)
    assert any("ember-1m judges 12 pairs" in line.text for line in plan.cost.lines)
    rules = {grant.id: grant.rules for grant in plan.grants}
    assert not any(rules[f"{way}-judge-final"]["body.max_tokens"].allows(1) for way in ("ask", "measure"))
    assert sum((grant.max_cost for grant in plan.grants), Decimal(0)) == plan.cost.total("high")
    control.reply()
    desk.run()
    text = control.ask_open().text
    assert "| 50.0 % (25.4 to 74.6) | 0 | 12 | 0 | 0 | 100.0 %" in text
    assert "it mostly goes by the order" in text
    assert "is not shown to be better than the base model by the win rate" in text
    assert {name.rsplit("-", 1)[1] for name in control.deployments} == {"eval", "final"}
    (asked,) = {body["model"] for body in control.completions if len(body["prompt"]) == 2 and body["echo_last"] == 2}
    assert asked.endswith("judge-final")


def test_pairs_are_made_from_prompts(desk: Any, prompts_only: Any, tmp_path: Any) -> None:
    control = prompts_only
    desk.run()
    plan = control.plans[control.ask_open().plan_hash]
    making = plan.preference.making
    assert (making.strong.rsplit("/", 1)[-1], making.weak.rsplit("/", 1)[-1]) == ("ember-1m", "ember-500k")
    assert (making.prompts, making.unseen) == (48, 12)
    assert plan.skipped.keys() == set()
    costs = [line.text for line in plan.cost.lines]
    assert any(text.startswith("the strong model (ember-1m) answers 48 prompts") for text in costs)
    assert any(text.startswith("the weak model (ember-500k) answers 48 prompts") for text in costs)
    assert sum((grant.max_cost for grant in plan.grants), Decimal(0)) == plan.cost.total("high")
    assert control.applied == []
    control.reply("Approved, proceed.")
    desk.run()
    assert control.ask_open().kind is QuestionKind.COMPARISON, control.ask_open()
    pairs = made(control)
    _check_pairs(desk, pairs)
    names = [name.rsplit("/", 1)[-1] for name in control.files if "/ft-" in name]
    assert next(name for name in names if "heldout" not in name).startswith("ft-1779157376-41e1-pairs-20")
    (job,) = control.jobs.values()
    assert job["dataset"] in control.files
    said = [event["text"] for event in control.of("status_info")]
    assert any(text.startswith("**Pairs made**") for text in said)
    assert "outputs/pairs_sample.md" in [event["path"] for event in control.of("artifact")]
    control.reply("Deploy it.")
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    report = (desk.work / "final_report.md").read_text()
    assert "48 prompts" in report
    assert "Left out:" in report
    for role, rows in pairs.items():
        file = tmp_path / f"{role}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert scan(file).errors == 0


def _check_pairs(desk: Any, pairs: dict[str, list[dict[str, Any]]]) -> None:
    provenance = json.loads((desk.work / "outputs/pairs_provenance.json").read_text())
    counts = provenance["counts"]
    assert sum(counts[name] for name in ("pairs", "ties", "invalid", "empty", "alike")) == counts["prompts"] == 48
    assert counts["alike"] > 0
    assert counts["empty"] > 0
    assert counts["pairs"] == counts["strong"] == len(pairs["train"]) + len(pairs["heldout"])
    assert provenance["trainingPairs"]["rows"] == len(pairs["train"])
    assert provenance["criterion"] == FormRule.criterion
    assert not texts(pairs["train"]) & texts(pairs["heldout"])
    judged = lines(desk, "outputs/answers-1-final.jsonl")
    assert len(judged) == 12
    assert not texts(judged) & (texts(pairs["train"]) | texts(pairs["heldout"]))
    for row in pairs["train"] + pairs["heldout"]:
        assert row["preferred_output"][0]["content"].startswith("About ")
        assert row["non_preferred_output"][0]["content"].startswith("no no")


def test_too_few_pairs_are_said_and_nothing_is_trained(desk: Any, prompts_only: Any) -> None:
    prompts_only.says = constant
    desk.run()
    prompts_only.reply()
    desk.run()
    question = prompts_only.ask_open()
    assert "Too few prompts gave a pair" in question.text
    assert "48 with the same answer twice" in question.text
    assert prompts_only.jobs == {}


def test_a_model_that_was_ended_goes_on_when_more_is_approved(desk: Any, prompts_only: Any) -> None:
    """What the strong model had answered is kept; the weak one begins on a new deployment."""
    prompts_only.lost = {"weak"}
    desk.run()
    prompts_only.reply()
    desk.run()
    question = prompts_only.ask_open()
    assert question.kind is QuestionKind.SPEND_INCREASE, question
    costs = [line.text for line in prompts_only.plans[question.plan_hash].cost.lines]
    assert any("the weak model" in text for text in costs)
    assert not any("the strong model" in text for text in costs)
    strong = [chat for chat in prompts_only.chats if chat["model"].endswith("strong")]
    assert len(strong) == 48
    prompts_only.reply()
    desk.run()
    assert prompts_only.ask_open().kind is QuestionKind.COMPARISON, prompts_only.ask_open().text
    assert [chat for chat in prompts_only.chats if "strong" in chat["model"]] == strong
    assert sum(chat["model"].endswith("weak-r2") for chat in prompts_only.chats) == 48


def test_one_model_cannot_be_strong_and_weak(desk: Any, prompts_only: Any) -> None:
    prompts_only.instructions = [f"Run DPO on {PROMPTS} using ember-1m. Use ember-500k as the strong model."]
    desk.run()
    assert "ember-500k would be both" in prompts_only.ask_open().text


CLAUDE = "claude-sonnet-5-5"
EVALUATOR = "accounts/local/evaluators/kind"


def register(control: Any, code: str) -> None:
    files = {"main.py": code}
    control.registered[EVALUATOR] = {
        "name": EVALUATOR, "state": "ACTIVE", "displayName": "Kindness", "archive": pack(files)
    }  # fmt: skip


def test_an_evaluator_of_the_account_judges(desk: Any, control: Any) -> None:
    control.says = improved
    control.instructions = [f"Run DPO on {PAIRS} using ember-1m. Skip HP tuning. Use evaluator {EVALUATOR}."]
    code = "def evaluate(completion):\n    return 0.75 if completion.startswith('good') else 0.25\n"
    register(control, code)
    desk.run()
    plan = control.plans[control.ask_open().plan_hash]
    assert plan.preference.judge == f"evaluator {EVALUATOR}"
    control.reply()
    desk.run()
    text = control.ask_open().text
    assert "| the final model | 100.0 % (75.8 to 100.0) | 12 | 0 | 0 | 0 |" in text
    assert "| the final model | 0.750 (0.750 to 0.750) | 0.250 (0.250 to 0.250) |" in text


def test_an_evaluator_that_scores_all_pairs_alike_is_refused(desk: Any, control: Any) -> None:
    control.instructions = [f"Run DPO on {PAIRS} using ember-1m. Use evaluator {EVALUATOR}."]
    code = "def evaluate(completion):\n    return 0.5\n"
    register(control, code)
    desk.run()
    assert "scores everything alike: 0.5" in control.ask_open().text
    assert not control.plans


class PlannerServer(PairServer):
    """A planner's model at known prices, which reads the answers and prefers the one that begins with `good`."""

    async def context(self, _: Request) -> Response:
        told = json.loads(bytes((await super().context(_)).body))
        told["plannerModels"] = [CLAUDE]
        told["prices"]["planner"] = load_planner_prices().only([CLAUDE]).model_dump(mode="json")
        return JSONResponse(told)

    async def judge(self, request: Request) -> Response:
        body = await request.json()
        if not self._granted("CreatePlannerMessage", {}, body):
            return JSONResponse({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no grant"}}, 403)
        first, second = answers_in(body["messages"][0]["content"])
        verdict = "A" if first > second else "B" if second > first else "tie"
        text = "I cannot say." if "unreadable" in first + second else f"It is kinder.\nVerdict: {verdict}"
        return JSONResponse({"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"})


def test_the_planners_model_judges_at_a_price_of_the_plan(control: Any, tmp_path: Any) -> None:
    def sometimes(model: str, asked: str) -> str:
        return "unreadable" if "#1 " in asked or "#2" in asked else improved(model, asked)

    control.says = sometimes
    control.instructions = [f"Run DPO on {PAIRS} using ember-1m. Skip HP tuning."]
    server = PlannerServer(control)
    server.app.router.routes.append(Route("/planner/v1/messages", server.judge, methods=["POST"]))
    with open_desk(control, tmp_path, server.app) as desk:
        desk.run()
        plan = control.plans[control.ask_open().plan_hash]
        assert (plan.preference.judge, plan.preference.given) == (CLAUDE, False)
        assert "is shorter (100 % of the 46 pairs that differ in it)" in plan.preference.criterion
        (line,) = [line for line in plan.cost.lines if line.kind == "planner"]
        (grant,) = [grant for grant in plan.grants if grant.method == "CreatePlannerMessage"]
        assert 0 < line.expected < line.high == grant.max_cost
        assert not any(grant.rules["body.max_tokens"].allows(tokens) for tokens in (1, 601, 8192))
        control.reply()
        desk.run()
        votes = lines(desk, "outputs/verdicts-1-final.jsonl")
    unread = sum(vote["vote"] == "invalid" for vote in votes) // 2
    assert unread > 0
    text = control.ask_open().text
    assert f"| {12 - unread} | 0 | 0 | {unread} |" in text


def test_the_win_rate_chooses_where_it_is_the_target(desk: Any, control: Any) -> None:
    """Likelihoods do not tell the candidates apart; the answers of one of them win."""

    def second_wins(model: str, asked: str) -> str:
        return "good: it is done" if model.split("#")[0].endswith("c2") else "bad: never ask again"

    control.says = second_wins
    control.instructions = [f"Run DPO on {PAIRS} using ember-1m. Target: win rate above 60%."]
    desk.run()
    plan = control.plans[control.ask_open().plan_hash]
    assert next(value.value for value in plan.values if value.name == "winner") == "win rate"
    control.reply()
    desk.run()
    text = control.ask_open().text
    assert "Winner: **c2** (the highest win rate against the base model)" in text
    assert "**I recommend to deploy c2**" in text


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
def test_killed_while_pairs_are_made(desk: Any, prompts_only: Any, zygote: Any, seed: int) -> None:
    control, rng = prompts_only, random.Random(400 + seed)
    drive(control, zygote, arm_requests(control, rng, 30, 110))
    assert control.kills >= 2
    assert control.finished["status"] == "succeeded", control.finished
    assert ended_phases(control) == ALL_PHASES
    _check_pairs(desk, made(control))
    makers = [chat for chat in control.chats if chat["model"].endswith(("strong", "weak"))]
    asked = [(chat["model"], str(chat["messages"])) for chat in makers]
    # at most what was under way when a runner died is asked again
    assert 96 == len(set(asked)) <= len(asked) <= 96 + 8 * control.kills
