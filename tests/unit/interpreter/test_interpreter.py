"""The interpreter on the catalogue's phrases and on what people type beside them."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runner.interpreter import interpret, interpret_reply

HERE = Path(__file__).parent
INSTRUCTIONS: list[dict[str, Any]] = yaml.safe_load((HERE / "instructions.yaml").read_text())
REPLIES: dict[str, list[Any]] = yaml.safe_load((HERE / "replies.yaml").read_text())
PLAIN = [(decision, text) for decision in ("approve", "reject", "question", "unclear") for text in REPLIES[decision]]


@pytest.mark.parametrize("case", INSTRUCTIONS, ids=lambda case: case["text"][:60] or "empty")
def test_instruction(case: dict[str, Any]) -> None:
    assert interpret(case["text"]).said() == case["intent"]


@pytest.mark.parametrize(("decision", "text"), PLAIN)
def test_plain_reply(decision: str, text: str) -> None:
    assert interpret_reply(text).decision == decision


@pytest.mark.parametrize("case", REPLIES["revise"], ids=lambda case: case["text"][:60])
def test_revision(case: dict[str, Any]) -> None:
    reply = interpret_reply(case["text"])
    assert (reply.decision, reply.changes) == ("revise", case["changes"])


@pytest.mark.parametrize("text", ["use candidate 2 instead", "promote c2 instead", "Take #2 instead"])
def test_another_candidate_at_the_promotion_gate(text: str) -> None:
    reply = interpret_reply(text, "promotion")
    assert (reply.decision, reply.changes) == ("revise", {"candidate": "c2"})


@pytest.mark.parametrize(
    "text", ["Deploy it.", "Yes, deploy the winner", "Please deploy.", "Deploy anyway", "Approved"]
)
def test_words_that_deploy_approve_a_comparison_only(text: str) -> None:
    assert interpret_reply(text, "comparison").decision == "approve"
    if "deploy" in text.lower():
        assert interpret_reply(text, "promotion").decision != "approve"


@pytest.mark.parametrize(
    "text",
    ["Finish without deploying.", "Don't deploy", "Do not deploy it, please.", "No deployment",
     "No, skip the deployment", "Proceed without a deployment", "never deploy this"],
)  # fmt: skip
def test_words_that_decline_a_deployment_never_approve_it(text: str) -> None:
    reply = interpret_reply(text, "comparison")
    assert (reply.decision, reply.changes) == ("revise", {"deploy": False})


def test_another_candidate_at_the_comparison() -> None:
    reply = interpret_reply("Deploy c3 instead", "comparison")
    assert (reply.decision, reply.changes) == ("revise", {"candidate": "c3"})


@pytest.mark.parametrize("text", ["Deploy it if it is cheap", "Should I deploy it?", "deploy it but smaller"])
def test_a_doubtful_deployment_is_none(text: str) -> None:
    assert interpret_reply(text, "comparison").decision != "approve"


@given(st.text(max_size=400))
def test_any_text_is_read_without_an_error(text: str) -> None:
    interpret(text)
    interpret_reply(text)


@given(
    st.sampled_from(REPLIES["approve"]), st.sampled_from(["if", "but", "unless", "not", "?", '"', "maybe", "however"])
)
def test_an_approval_with_a_doubt_in_it_is_none(text: str, doubt: str) -> None:
    assert interpret_reply(f"{text} {doubt} the price doubles").decision != "approve"
    assert interpret_reply(f"{doubt} {text} the rest").decision != "approve"


def test_interpreter_is_pure() -> None:
    names = set(vars(import_module("runner.interpreter.interpret")))
    assert not names & {"open", "Path", "httpx", "os", "socket"}
