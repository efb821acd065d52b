"""Replies at an approval. An approval is only what plainly approves: nothing conditional, quoted, negated or mixed."""

import re
from typing import Any

from runner.interpreter.intent import Reply
from runner.interpreter.interpret import find_fields
from runner.interpreter.text import normalise

_OBJECT = (
    r"(?: (?:it|this|that|the plan|this plan|that plan|the plan and (?:the )?costs?|the costs?|both|all of it"
    r"|everything|the run|the job|the sweep|the final run|the estimate|the training|the proposal))?"
)
_WINNER = (
    r"(?: with)?(?: the)?(?: (?:winning|best|recommended|proposed|top|suggested))(?: (?:config(?:uration)?"
    r"|candidate|one|model|run|option))?"
)
_APPROVE = "|".join(
    [
        rf"(?:i |we |i hereby )?(?:fully )?approv(?:e|ed){_OBJECT}",
        r"approval granted",
        r"(?:yes|yep|yeah|yup|aye|y)",
        r"(?:ok|okay|k)",
        r"sure(?: thing)?",
        rf"(?:please )?go ahead(?: and (?:run|start|proceed|do)(?: it)?)?{_OBJECT}",
        r"go",
        r"go for it",
        rf"(?:please )?(?:you (?:can|may) )?(?:proceed|continue|carry on|start|begin|run|launch|execute"
        rf"|do)(?: with)?{_OBJECT}(?: now)?",
        rf"(?:proceed|continue|go|go ahead)(?: with)?{_WINNER}",
        rf"promote{_WINNER}",
        rf"train{_WINNER}",
        r"promote (?:it|the winner)",
        r"(?:proceed|go) with the winner",
        r"(?:it |this |that |all )?(?:looks|sounds|seems) (?:good|great|fine|right|perfect|ok"
        r"|okay)(?: to me)?",
        r"lgtm",
        r"ship it",
        r"do it",
        r"let'?s go(?: ahead)?",
        r"let'?s do (?:it|this)",
        rf"(?:i |we )?(?:confirm|confirmed|accept|accepted|agree"
        rf"|agreed){_OBJECT}",
        r"(?:that|this) (?:works|is fine|is good|is ok"
        r"|is okay)(?: for me)?",
        r"(?:perfect|great|good|fine|excellent|wonderful"
        r"|awesome|nice)",
        r"make it so",
        r"\+1",
        "\U0001f44d",
        "\u2705",
    ]
)
_DEPLOY = (
    r"(?:please )?deploy(?: (?:it|(?:the )?(?:winner|(?:tuned |winning |best |recommended )?(?:model|candidate|one))))?"
    r"(?: anyway)?"
)
"""Approves a comparison only: elsewhere it says what is to come."""
_UNDEPLOYED = re.compile(
    r"\b(?:without|no|skip(?: the)?|do not|don'?t|not|never|omit(?: the)?) (?:a |any |to )?deploy(?:ing|ment|ments)?\b",
    re.I,
)
_FILLER = (
    r"please|thanks(?: a lot)?|thank you(?: very much)?|thx|cheers|now|then|and|so|with it|with that"
    r"|with the plan|with this plan|as (?:is|planned|proposed|shown|described)|all good|team|hi|hello|the plan"
    r"|the cost|the costs|here|to me|from my side"
)
_REJECT = (
    r"(?:i |we )?reject(?:ed)?(?: (?:it|this|that|the plan|this plan|everything))?|no|nope|nah|no,? thanks"
    r"|no,? thank you|(?:please )?(?:cancel|stop|abort|quit|end|halt)(?: (?:it|this|that|the session|the run"
    r"|everything|here|now|the plan))?"
    r"|(?:do not|don'?t|please don'?t) (?:proceed|run(?: (?:it|this))?|start|continue|do (?:it|this|that)|go ahead"
    r"|train)|not approved|(?:i |we )?(?:do not|don'?t) (?:approve|want (?:this|that|it)|accept)(?: (?:it|this|that"
    r"|the plan))?|(?:i |we )?(?:decline|declined|refuse)(?: (?:it|this|the plan))?"
    r"|forget (?:it|about it)|never ?mind|disapproved?|not now|call it off"
)
_SEPARATOR = r"[\s,.;!:\-]*"
_CONDITION = re.compile(
    r"\b(?:if|unless|provided|assuming|once|when|as long as|only|but|however|except|after|before|until|although"
    r"|though|maybe|perhaps|might|not sure|unsure|probably|instead|almost)\b",
    re.I,
)
_SOFT = re.compile(
    r"\b(?:use|try|change|switch|set|make|add|remove|drop|skip|reduce|lower|increase|raise|replace|limit|cap|keep"
    r"|exclude|include|lessen|shrink|smaller|larger|bigger|cheaper|faster|fewer|more|less|instead|rather|prefer"
    r"|different|another|revise|rework|too (?:expensive|slow|long|much|many))\b",
    re.I,
)
_ASKS = re.compile(
    r"^(?:(?:and|so|but|ok|okay|hm+),? )?(?:what|which|how|why|when|where|who|is|are|does|do you|did|has|have"
    r"|will it|should|explain|tell me|show me|describe|can i|could i|may i)\b",
    re.I,
)
_POLITE = re.compile(r"^(?:please )?(?:can|could|would|will) (?:you|we)\b", re.I)
_QUOTED = re.compile(r'"[^"]*"|`[^`]*`|(?<!\w)\'[^\']*\'(?!\w)')


def interpret_reply(text: str, kind: str | None = None) -> Reply:
    """Read a reply; `kind` is the question's kind (at `promotion` and `comparison`, a candidate like
    "c2" may be chosen instead; at `comparison`, `deploy` is false where nothing shall be deployed)."""
    plain = normalise(text)
    if not plain:
        return Reply(decision="unclear")
    approve = f"{_APPROVE}|{_DEPLOY}" if kind == "comparison" else _APPROVE
    if _consumed(plain, rf"{approve}|{_FILLER}") and re.search(rf"(?<!\w)(?:{approve})(?!\w)", plain, re.I):
        return Reply(decision="approve")
    changes = _find_changes(plain, kind)
    if _is_question(plain):
        return Reply(decision="question")
    if _rejects(plain) and not changes:
        return Reply(decision="reject")
    if changes or _asks_for_change(plain):
        return Reply(decision="revise", changes=changes)
    return Reply(decision="unclear")


_PLAIN_LENGTH = 200  # nobody needs more to plainly approve, and it bounds the search below


def _consumed(plain: str, atoms: str) -> bool:
    """Whether the whole text is made of these atoms and separators; quotes, question marks and other words break it."""
    return len(plain) <= _PLAIN_LENGTH and bool(
        re.fullmatch(rf"{_SEPARATOR}(?:(?:{atoms})(?!\w)(?:{_SEPARATOR}))+", plain, re.I)
    )


def _rejects(plain: str) -> bool:
    clauses = [part.strip() for part in re.split(r"[,.;!\n]| - ", plain) if part.strip()]
    if (
        not clauses
        or not _consumed(clauses[0], rf"{_REJECT}|{_FILLER}")
        or not re.search(rf"(?<!\w)(?:{_REJECT})(?!\w)", clauses[0], re.I)
    ):
        return False
    rest = " ".join(clauses[1:])
    approves = any(
        _consumed(part, rf"{_APPROVE}|{_FILLER}") and re.search(rf"(?<!\w)(?:{_APPROVE})(?!\w)", part, re.I)
        for part in clauses[1:]
    )
    return not approves and not _CONDITION.search(rest)


def _is_question(plain: str) -> bool:
    if _POLITE.match(plain):
        return not (_SOFT.search(plain) or re.search(r"\b(?:train|run|start|proceed|approve)\b", plain, re.I))
    return plain.rstrip().endswith("?") or bool(_ASKS.match(plain))


def _asks_for_change(plain: str) -> bool:
    return bool(_SOFT.search(_QUOTED.sub(" ", plain))) and not _rejects(plain)


def _find_changes(plain: str, kind: str | None) -> dict[str, Any]:
    unquoted = _QUOTED.sub(lambda match: match[0] if "accounts/" in match[0] else " ", plain)
    found = {name: value for name, value in find_fields(unquoted).items() if value is not None}
    if "target" in found:
        found["target"] = found["target"].model_dump()
    if kind == "comparison" and _UNDEPLOYED.search(unquoted):
        found["deploy"] = False
    if kind in ("promotion", "comparison") and (
        match := re.search(
            r"(?:candidate |config(?:uration)? |run )?(?:\bc|#)(\d{1,2})\b|\bcandidate (\d{1,2})\b", plain, re.I
        )
    ):
        found["candidate"] = f"c{match[1] or match[2]}"
    return found
