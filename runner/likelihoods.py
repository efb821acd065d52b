"""How likely a model finds given answers: nothing is generated, and tokens are those of the model's own template."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pilotlight.errors import FailedPrecondition
from runner import serving
from runner.planning import label_requests, requests
from runner.turn import Turn

AT_ONCE = 8
_KEPT_EACH = 50
PROBES = ("0", "z")
"""Two answers that share no character, to see what the template writes around an answer."""
Q = TypeVar("Q")
A = TypeVar("A")


def ask_rest(answers: list[A], questions: Sequence[Q], ask: Callable[[Q], A], keep: Callable[[bool], None]) -> list[A]:
    """Add the answers to all questions that have none yet, several at once, and have them kept every so often.

    `keep` is told whether they are complete.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while len(answers) < len(questions):
            answers += pool.map(ask, questions[len(answers) : len(answers) + _KEPT_EACH])
            keep(len(answers) == len(questions))
    return answers


def measure(turn: Turn, address: str, prompt: list[int], spelled: list[list[int]]) -> list[float]:
    """The log-probability of each answer after a prompt, both as tokens; see spell() and prompt_ids()."""
    scores: list[float] = []
    for at in range(0, len(spelled), label_requests.CHOICES_AT_ONCE):
        batch = spelled[at : at + label_requests.CHOICES_AT_ONCE]
        last = max(map(len, batch))
        body = label_requests.measure_body(address, [[*prompt, *ids] for ids in batch], last)
        reply = serving.post(turn, label_requests.COMPLETIONS, body)
        choices = sorted(reply["choices"], key=lambda choice: int(choice["index"]))
        for ids, choice in zip(batch, choices, strict=True):
            scores.append(sum(map(float, choice["logprobs"]["token_logprobs"][-len(ids) :])))
    return scores


def spell(turn: Turn, address: str, answers: Sequence[str]) -> list[list[int]]:
    """The tokens of each answer with the end of the turn, as the model's own template writes them.

    Raises FailedPrecondition for a template that changes what is around an answer with the answer.
    """
    one, other = (_written(turn, address, probe) for probe in PROBES)
    before = next(at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    after = next(at for at, (a, b) in enumerate(zip(reversed(one), reversed(other), strict=False)) if a != b)
    tail = one[len(one) - after :]
    spelled: list[list[int]] = []
    for answer in answers:
        ids = _written(turn, address, answer)
        if ids[:before] != one[:before] or ids[len(ids) - after :] != tail or not tail:
            raise FailedPrecondition(f"The chat template of {address} does not write answers as they are given.")
        spelled.append([*ids[before : len(ids) - after], tail[0]])
    return spelled


def _written(turn: Turn, address: str, answer: str) -> list[int]:
    return template_ids(turn, address, [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}])


def template_ids(
    turn: Turn, address: str, messages: Sequence[dict[str, Any]], tools: list[Any] | None = None
) -> list[int]:
    """A conversation in tokens, as the model's own template writes it. Raises FailedPrecondition as prompt_ids()."""
    return prompt_ids(serving.post(turn, serving.CHAT_PATH, requests.template_body(address, list(messages), tools)))


def prompt_ids(reply: dict[str, Any]) -> list[int]:
    """The tokens of the prompt that a reply was made to. Raises FailedPrecondition where it does not tell them."""
    choice = reply["choices"][0]
    ids = choice.get("prompt_token_ids") or reply.get("prompt_token_ids")
    if not ids:
        raise FailedPrecondition("The platform does not tell the tokens of a prompt, so answers cannot be measured.")
    return [int(token) for token in ids]
