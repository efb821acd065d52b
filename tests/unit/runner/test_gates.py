"""What a person can say at each gate, and what it does. Real graph, real socket, scripted control process."""

import shutil
from typing import Any

import pytest
from langgraph.errors import GraphInterrupt
from langgraph.types import Command

from pilotlight.errors import Aborted, FailedPrecondition, PermissionDenied
from pilotlight.plan import Phase
from pilotlight.question import Answer, Decision, QuestionKind
from runner.graph import build_graph
from runner.planner import STRICT_RESUME, make_config, open_saver
from runner.state import GRAPH_VERSION, NODES

DATASET = "accounts/local/datasets/tickets"


def plan_of(control: Any) -> Any:
    return control.plans[control.ask_open().plan_hash]


def value_of(plan: Any, name: str) -> Any:
    return next(value for value in plan.values if value.name == name)


def test_everything_missing_is_one_question(desk: Any, control: Any) -> None:
    control.instructions = ["Run SFT on my data."]
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.MISSING_INPUT
    assert [field.name for field in question.fields] == ["train_dataset", "base_models", "evaluation"]
    assert control.downloads == 0
    control.reply(f"Use {DATASET} and the smaller one, Ember 500K.")
    desk.run()
    plan = plan_of(control)
    assert plan.dataset.source == DATASET
    assert plan.base_models == ["accounts/fireworks/models/ember-500k"]


def test_missing_base_model_has_costs_and_takes_the_default(desk: Any, control: Any) -> None:
    control.instructions = [f"Run SFT on {DATASET}."]
    desk.run()
    question = control.ask_open()
    field = question.fields[0]
    assert field.name == "base_models"
    assert all("$" in option.cost and "about" in option.cost for option in field.options)
    assert [option.value for option in field.options if option.recommended] == [field.default] == ["ember-1m"]
    control.reply("the defaults are fine")
    desk.run()
    assert plan_of(control).base_models == ["accounts/fireworks/models/ember-1m"]


@pytest.mark.parametrize("words", ["2", "option 2", "ember-500k", "Ember 500K please", "use the ember 500k model"])
def test_an_option_in_plain_words(desk: Any, control: Any, words: str) -> None:
    control.instructions = [f"Run SFT on {DATASET}. Validation loss is fine."]
    desk.run()
    control.reply(words)
    desk.run()
    assert plan_of(control).base_models == ["accounts/fireworks/models/ember-500k"]


def test_unknown_base_model_is_explained(desk: Any, control: Any) -> None:
    control.instructions = [f"Run SFT on {DATASET} using Qwen3 32B."]
    desk.run()
    question = control.ask_open()
    assert "`qwen3-32b` is not registered on this platform" in question.text
    assert "`ember-1m`" in question.text
    control.reply("ok, the recommended one")
    desk.run()
    assert plan_of(control).base_models == ["accounts/fireworks/models/ember-1m"]


def test_unknown_dataset_is_explained(desk: Any, control: Any) -> None:
    control.instructions = ["Run SFT on accounts/local/datasets/nothing using ember-1m."]
    desk.run()
    assert "There is no dataset accounts/local/datasets/nothing" in control.ask_open().text.replace("\\", "")
    control.reply(f"Sorry, I meant {DATASET}.")
    desk.run()
    assert plan_of(control).dataset.source == DATASET


@pytest.mark.parametrize(
    ("instruction", "pointer"),
    [
        (f"Full-parameter fine-tune ember-1m on {DATASET}.", "Managed Fine-Tuning"),
        (f"Run RFT training on {DATASET} with ember-1m.", "Managed Fine-Tuning"),
        (f"Train on {DATASET} with a custom loss function.", "the Training API"),
        (f"Run my own Python training loop on {DATASET}.", "the Training API"),
        (f"Run DPO on {DATASET} with custom beta schedules.", "the Training API"),
        (f"Hotload checkpoints of {DATASET} and sample from them during training.", "the Training API"),
        (f"Run PPO on {DATASET} with ember-1m.", "Managed Fine-Tuning or the Training API"),
        (f"Run SFT on {DATASET} fully automated in CI.", "Managed Fine-Tuning, or an autoApprove ceiling"),
        (f"I know my settings and just want to submit a training job on {DATASET}.", "Managed Fine-Tuning"),
        ("Delete all my deployments.", "list, inspect, create or monitor"),
    ],
)
def test_refusals_point_somewhere_and_wait(desk: Any, control: Any, instruction: str, pointer: str) -> None:
    control.instructions = [instruction]
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.MISSING_INPUT
    assert pointer in question.text
    assert control.applied == []
    control.reply(f"Then run SFT on {DATASET} using ember-1m instead.")
    desk.run()
    assert plan_of(control).workflow == "sft"


def test_what_cannot_be_set_is_told_in_the_plan(desk: Any, control: Any) -> None:
    control.instructions[0] += " Use batch size 32 and a cosine schedule."
    desk.run()
    said = value_of(plan_of(control), "unread")
    assert (said.value, said.source) == ("batch size 32; cosine schedule", "unknown")
    assert "not taken up" in said.note


def test_a_question_is_answered_and_nothing_runs(desk: Any, control: Any) -> None:
    control.instructions = ["Which base models do you support for SFT?"]
    desk.run()
    assert control.finished["status"] == "succeeded"
    assert "ember-500k" in control.finished["message"]
    assert [event["phase"] for event in control.of("phase")] == [phase.value for phase in Phase]


def test_revise_is_costed_anew_and_only_the_last_plan_counts(desk: Any, control: Any) -> None:
    desk.run()
    first = control.ask_open().plan_hash
    control.reply("train for 2 epochs and use 20 samples", Decision.REVISE, epochs=2, hp_samples=20)
    desk.run()
    plan = plan_of(control)
    assert plan.digest() != first
    assert {candidate.epochs for candidate in plan.candidates} == {2}
    assert plan.dataset.sweep_rows == 20
    assert value_of(plan, "hp_samples").source == "set"
    assert Phase.TRAIN not in plan.skipped  # the sweep saw 20 rows only
    control.reply("ok")
    desk.run()
    control.reply("Proceed with the winning config.")
    desk.run()
    assert control.finished["status"] == "succeeded"
    (final,) = [job for name, job in control.jobs.items() if name.endswith("-final")]
    assert (final["loraRank"], final["epochs"], final["dataset"][-5:]) == (16, 2, "train")
    assert ("train", "completed") in [(event["phase"], event["state"]) for event in control.of("phase")]


def test_skip_sweep_has_one_gate(desk: Any, control: Any) -> None:
    control.instructions = [f"Run SFT on {DATASET} using ember-1m with rank 8. Skip HP tuning."]
    desk.run()
    plan = plan_of(control)
    assert [candidate.lora_rank for candidate in plan.candidates] == [8]
    assert {grant.gate for grant in plan.grants} == {"plan_approval"}
    control.reply("ok")
    desk.run()
    assert control.finished["status"] == "succeeded"
    assert len(control.questions) == 1
    assert [job["loraRank"] for job in control.jobs.values()] == [8]


def test_skip_final_training_deploys_the_winner(desk: Any, control: Any) -> None:
    control.instructions = [
        f"Run SFT on {DATASET} using ember-1m. Use 20 samples for HP tuning. Skip the full-data final run."
    ]
    for _ in range(2):
        desk.run()
        control.reply("ok")
    desk.run()
    assert control.finished["status"] == "succeeded"
    assert all("final" not in name for name in control.jobs)
    assert control.deployments["accounts/local/deployments/ft-1779157376-41e1-deploy"]["baseModel"].endswith("-c2")


def test_another_candidate_can_be_named(desk: Any, control: Any) -> None:
    desk.run()
    control.reply("ok")
    desk.run()
    control.reply("use c3", Decision.REVISE, candidate="c3")
    desk.run()
    assert "Next with **c3**" in control.ask_open().text
    control.reply("ok")
    desk.run()
    assert control.deployments["accounts/local/deployments/ft-1779157376-41e1-deploy"]["baseModel"].endswith("-c3")


def test_a_changed_plan_at_the_promotion_gate_gets_new_names(desk: Any, control: Any) -> None:
    desk.run()
    control.reply("ok")
    desk.run()
    control.reply("train for 1 epoch instead", Decision.REVISE, epochs=1)
    desk.run()
    assert control.ask_open().kind is QuestionKind.PLAN_APPROVAL
    for _ in range(2):
        control.reply("ok")
        desk.run()
    assert control.finished["status"] == "succeeded"
    assert sorted(name.split("41e1-")[1] for name in control.jobs) == ["c1", "c2", "c3", "g2-c1", "g2-c2", "g2-c3"]


def test_nothing_beats_the_base_is_said(desk: Any, control: Any) -> None:
    control.base_loss = 0.1
    desk.run()
    control.reply("ok")
    desk.run()
    assert "No candidate beats the base model" in control.ask_open().text


def test_a_failed_candidate_is_tolerated_three_are_not(desk: Any, control: Any) -> None:
    control.failing = {"c1"}
    desk.run()
    control.reply("ok")
    desk.run()
    assert "failed: out of memory" in control.ask_open().text
    assert control.ask_open().kind is QuestionKind.PROMOTION


def test_three_failures_stop_and_wait_and_a_new_plan_is_needed(desk: Any, control: Any) -> None:
    control.failing = {"c1", "c2", "c3"}
    desk.run()
    control.reply("ok")
    desk.run()
    question = control.ask_open()
    assert "did not work" in question.text
    assert "out of memory" in question.text
    control.failing = set()
    control.reply("try again")
    desk.run()
    assert control.ask_open().kind is QuestionKind.SPEND_INCREASE
    for _ in range(2):
        control.reply("ok")
        desk.run()
    assert control.finished["status"] == "succeeded"


def test_trouble_can_end_the_session(desk: Any, control: Any) -> None:
    control.failing = {"c1", "c2", "c3"}
    desk.run()
    control.reply("ok")
    desk.run()
    control.reply("stop")
    desk.run()
    assert control.finished["status"] == "failed"


def test_budget_cuts_the_plan_and_says_so(desk: Any, control: Any) -> None:
    control.instructions = [f"Run SFT on {DATASET} using ember-1m. Budget: under $0.15."]
    desk.run()
    plan = plan_of(control)
    assert plan.cuts
    assert plan.cost.so_far + sum(grant.max_cost for grant in plan.grants) <= plan.budget
    assert "Cut to fit your budget" in (desk.work / "plan.md").read_text()


def test_an_impossible_budget_is_asked_about(desk: Any, control: Any) -> None:
    control.budget = "0.001"
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.MISSING_INPUT
    assert "Even the smallest plan" in question.text


@pytest.mark.parametrize("words", ["use the defaults", "use rank 16 instead"])
def test_impossible_values_are_asked_about(desk: Any, control: Any, words: str) -> None:
    control.instructions = [f"Run SFT on {DATASET} using ember-1m with LoRA rank 48. Validation loss is fine."]
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.MISSING_INPUT
    assert "LoRA rank 48 is not possible" in question.text
    control.reply("Which base models do you support?")
    desk.run()
    assert "ember-500k" in control.of("status_info")[-1]["text"]
    assert "LoRA rank 48 is not possible" in control.ask_open().text
    control.reply("hm")
    desk.run()
    assert "I could not read an answer" in control.ask_open().text
    assert "LoRA rank 48 is not possible" in control.ask_open().text
    control.reply(words)
    desk.run()
    assert 16 in [candidate.lora_rank for candidate in plan_of(control).candidates]


def test_what_is_said_while_running_steers_and_never_approves(desk: Any, control: Any) -> None:
    desk.run()
    control.instructions.append("Approved, proceed.")
    desk.run()
    assert control.ask_open().kind is QuestionKind.PLAN_APPROVAL
    assert control.jobs == {}
    first = control.ask_open()
    control.instructions.append("Train for 1 epoch.")
    desk.run()
    control.answers[first.question_id] = Answer(question_id=first.question_id, text="superseded")
    assert {candidate.epochs for candidate in plan_of(control).candidates} == {1}


def test_follow_up_after_success_uses_the_staged_data(desk: Any, control: Any) -> None:
    desk.run()
    for _ in range(2):
        control.reply("ok")
        desk.run()
    assert control.finished["status"] == "succeeded"
    control.forget_end()
    control.instructions.append("Now try it with rank 4 and 2 epochs.")
    desk.run()
    plan = plan_of(control)
    assert [candidate.lora_rank for candidate in plan.candidates] == [4]
    control.reply("ok")
    desk.run()
    assert control.finished["status"] == "succeeded"
    assert control.downloads == 1
    assert "accounts/local/deployments/ft-1779157376-41e1-g2-deploy" in control.finished["message"]


def test_a_turn_after_the_end_says_the_end_again(desk: Any, control: Any) -> None:
    control.instructions = ["Which base models do you support?"]
    desk.run()
    message = control.finished["message"]
    control.forget_end()
    desk.run()
    assert control.finished["message"] == message


def test_an_answer_to_another_plan_is_refused(desk: Any, control: Any) -> None:
    desk.run()
    question = control.ask_open()
    control.reply("ok")
    stale = control.answers[question.question_id].model_copy(update={"plan_hash": "0" * 64})
    control.answers[question.question_id] = stale
    with pytest.raises(Aborted, match="no longer the current one"):
        desk.run()
    assert control.jobs == {}


def test_nothing_spends_without_the_grants_of_the_approval(desk: Any, control: Any) -> None:
    desk.run()
    control.reply("ok")
    control.grants.clear()
    with pytest.raises(PermissionDenied, match="no grant covers"):
        desk.run()


def test_resume_is_strict(desk: Any, control: Any) -> None:
    """LangGraph's private switch: a consumed or unknown interrupt ID is an error, and a plain resume is never used."""
    desk.run()
    turn, saver = desk.turn(), open_saver(desk.work / "state" / "graph.db")
    graph, config = build_graph(turn, saver), make_config(turn.context.session)
    assert config.get("configurable", {})[STRICT_RESUME] is True
    (interrupt,) = graph.get_state(config).interrupts
    control.reply("ok")
    graph.invoke(Command(resume={interrupt.id: interrupt.value}), config, durability="sync")
    (later,) = graph.get_state(config).interrupts
    assert later.id != interrupt.id
    with pytest.raises(Exception, match="interrupt") as error:
        graph.invoke(Command(resume={interrupt.id: interrupt.value}), config, durability="sync")
    assert not isinstance(error.value, GraphInterrupt)
    assert graph.get_state(config).interrupts[0].id == later.id
    with pytest.raises(Aborted, match="Resumed for"):
        graph.invoke(Command(resume={later.id: interrupt.value}), config, durability="sync")
    saver.conn.close()
    turn.client.close()


def test_node_names_are_frozen() -> None:
    """A session may wait at any of these: renaming one ends its run silently. Raise GRAPH_VERSION when they change."""
    assert GRAPH_VERSION == 1
    gates = ["clarify", "plan", "promotion", "comparison", "trouble", "increase"]
    work = [f"{gate}_{part}" for gate in gates for part in ("propose", "gate", "act")]
    phases = ["inspect", "sweep", "train", "evaluate", "deploy", "report"]
    assert sorted(NODES) == sorted(["begin", "answer", *work, *phases])


def test_another_graph_version_is_not_resumed(desk: Any, control: Any) -> None:
    desk.run()
    turn, saver = desk.turn(), open_saver(desk.work / "state" / "graph.db")
    graph, config = build_graph(turn, saver), make_config(turn.context.session)
    graph.update_state(config, {"graph_version": 99}, as_node="plan_propose")
    saver.conn.close()
    turn.client.close()
    with pytest.raises(FailedPrecondition, match="version 99"):
        desk.run()


def test_state_stays_small(desk: Any, control: Any) -> None:
    desk.run()
    control.reply("ok")
    desk.run()
    turn, saver = desk.turn(), open_saver(desk.work / "state" / "graph.db")
    state = build_graph(turn, saver).get_state(make_config(turn.context.session)).values
    saver.conn.close()
    turn.client.close()
    assert len(repr(state)) < 10_000
    shutil.rmtree(desk.work)
