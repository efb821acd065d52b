"""What a free-text reply to a question decides. Deterministic, and read here, never by the runner [DESIGN section 7].

An approval is only what plainly approves; anything else keeps the session waiting or changes the plan.
"""

from pilotlight.question import QuestionKind
from runner.interpreter import Reply, interpret, interpret_reply

APPROVALS = frozenset(set(QuestionKind) - {QuestionKind.MISSING_INPUT})
"""Questions whose answer is a decision."""

_PHRASES = {
    QuestionKind.PLAN_APPROVAL: "`Approved, proceed.`, say what to change, or `Reject.`",
    QuestionKind.PROMOTION: "`Proceed with the winning config.`, name another candidate, or `Reject.`",
    QuestionKind.COMPARISON: "`Deploy it.`, name another candidate, `Finish without deploying.`, or `Reject.`",
    QuestionKind.SPEND_INCREASE: "`Approved, proceed.`, say what to change, or `Reject.`",
}


def read_reply(text: str, kind: QuestionKind) -> Reply:
    """What `text` decides about a question of `kind`; `changes` are Intent fields."""
    return interpret_reply(text, kind.value)


def asks(text: str) -> bool:
    """Whether a reply that decides nothing is a mere question, which a turn can answer and which changes nothing."""
    return interpret(text).workflow == "question"


def explain(reply: Reply, kind: QuestionKind) -> str:
    """What to tell a user whose reply decides nothing (Markdown)."""
    heard = "That reads as a question" if reply.decision == "question" else "I could not read a decision in that"
    return f"{heard}, so nothing was approved and nothing was spent. Answer with {_PHRASES[kind]}."
