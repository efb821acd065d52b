"""Two decisions written apart from each other agree on every request: ours, and Cedar behind a second parser."""

import random
from collections import Counter

import cedarpy
import pytest

from manifest.decide import decide
from manifest.facts import Caller, Owner, RequestFacts, Verdict
from tests.fixtures import random_requests, second_opinion
from tests.fixtures.random_requests import Request
from tests.fixtures.second_opinion import Doubt, Who

BATCH = 5000


def first(request: Request) -> Verdict:
    account, user, role, session, preset = request.who
    caller = Caller(account, user, role, session or None, preset or None)

    def owner_of(name: str) -> Owner | None:
        found = random_requests.owner_of(name)
        return Owner(*found) if found else None

    facts = RequestFacts(request.verb, request.path, request.query, request.headers, request.body)
    return decide(facts, caller, owner_of)


def seconds(requests: list[Request]) -> list[tuple[str, bool]]:
    """(method as far as it is known, allowed) of each."""
    callers = sorted({request.who for request in requests})
    whos = [Who(*caller) for caller in callers]
    answers: list[tuple[str, bool]] = []
    asked: list[int] = []
    questions: list[dict[str, object]] = []
    for request in requests:
        number = callers.index(request.who)
        try:
            reading = second_opinion.read(
                whos[number], request.verb, request.path, request.query, request.headers, request.body
            )
        except Doubt as doubt:
            answers.append((str(doubt), False))
            continue
        asked.append(len(answers))
        answers.append((reading.method, False))
        questions.append(second_opinion.question(number, whos[number], reading, random_requests.owner_of))
    for at, allowed in zip(asked, second_opinion.answer(questions, whos), strict=True):
        answers[at] = (answers[at][0], allowed)
    return answers


def compare(count: int, seed: int) -> Counter[str]:
    rng, seen = random.Random(seed), Counter[str]()
    for start in range(0, count, BATCH):
        requests = [random_requests.make(rng) for _ in range(min(BATCH, count - start))]
        for request, (method, allowed) in zip(requests, seconds(requests), strict=True):
            verdict = first(request)
            assert verdict.allowed == allowed, (request, verdict.rule, verdict.reason, method)
            assert not allowed or verdict.method == method
            seen["allowed" if allowed else verdict.rule] += 1
            seen["all"] += 1
    return seen


def check_share(seen: Counter[str]) -> None:
    assert seen["allowed"] >= 0.10 * seen["all"], seen
    rules = {"path", "unknown-method", "header", "manifest", "surface", "account", "query", "body", "role", "created"}
    assert rules | {"spend"} <= set(seen), seen


def test_no_disagreement_on_five_thousand_requests() -> None:
    seen = compare(5000, 1)
    assert seen["all"] == 5000
    check_share(seen)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_no_disagreement_on_many_requests(seed: int) -> None:
    seen = compare(50_000, seed)
    assert seen["all"] == 50_000
    check_share(seen)


def test_the_policies_obey_their_schema() -> None:
    actions = [f"action {group};" for group in second_opinion.GROUPS]
    for entry in second_opinion.ROUTES:
        groups = ", ".join(second_opinion.groups_of(entry))
        applies = "appliesTo { principal: Caller, resource: Account, context: Facts }"
        actions.append(f"action {entry['method']} in [{groups}] {applies};")
    result = cedarpy.validate_policies(second_opinion.POLICIES, second_opinion.SCHEMA + "\n".join(actions))
    assert result.validation_passed, result.errors


def test_the_second_opinion_shares_no_code_with_the_first() -> None:
    source = (second_opinion.ROOT / "tests/fixtures/second_opinion.py").read_text("utf-8")
    imports = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert len(imports) >= 5
    assert not [line for line in imports if "manifest" in line or "gateway" in line or "pilotlight" in line]
