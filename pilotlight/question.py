"""Questions a session asks and the answers it gets [DESIGN section 3]. Camel-case on the wire."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from pilotlight.plan import Scalar
from pilotlight.wire import Wire


class QuestionKind(StrEnum):
    """Why the session waits."""

    MISSING_INPUT = "missing_input"
    PLAN_APPROVAL = "plan_approval"
    PROMOTION = "promotion"
    COMPARISON = "comparison"
    SPEND_INCREASE = "spend_increase"


class Decision(StrEnum):
    """What an answer to an approval means."""

    APPROVE = "approve"
    REVISE = "revise"
    REJECT = "reject"


class Option(Wire):
    """One choice, with what it would cost where that is known."""

    value: str
    label: str
    cost: str = ""
    recommended: bool = False


class QuestionField(Wire):
    """One thing that is asked."""

    name: str
    label: str
    type: Literal["choice", "multi_choice", "text", "number"]
    options: list[Option] = Field(default_factory=list)
    default: Scalar | list[Scalar] = None


class Question(Wire):
    """`text` is what the user sees, verbatim. Approvals carry the hash of what is approved."""

    question_id: str
    kind: QuestionKind
    text: str
    fields: list[QuestionField] = Field(default_factory=list)
    plan_hash: str | None = None


class Answer(Wire):
    """A reply as the runner receives it: the words, and what the Agent API read in them.

    For approvals `decision` is always set, by the Agent API, never by the runner. `changes` are Intent fields.
    """

    question_id: str
    text: str = ""
    decision: Decision | None = None
    values: dict[str, Any] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)
    plan_hash: str | None = None
    principal: str = ""
