"""What Pilotlight does not do, recognised before anything else [A22-A33]."""

import re
from typing import get_args

from runner.interpreter.intent import Unsupported
from runner.interpreter.text import negated

_RESOURCE = (
    r"(?:deployments?|models?|datasets?|jobs?|evaluators?|accounts?|users?|api[- ]?keys?|keys?|secrets?"
    r"|checkpoints?|adapters?"
    r"|loras?|endpoints?|resources?|everything|sessions?|runs?|accounts/[\w-]+/\S+)"
)
_DESTROY = (
    r"(?:delet(?:e|es|ing)|destroy(?:s|ing)?|remov(?:e|es|ing)|eras(?:e|es|ing)|wip(?:e|es|ing)|purg(?:e|es|ing)"
    r"|drop(?:s|ping)?"
    r"|cancel(?:s|l?ing)?|terminat(?:e|es|ing)|kill(?:s|ing)?|tear(?:ing)? down|undeploy(?:s|ing)?|overwrit(?:e|es|ing)"
    r"|shut(?:ting)? down|clean(?:ing)? up|get rid of|nuke|replac(?:e|es|ing) the (?:existing|production))"
)
_HARMLESS = re.compile(
    r"\b(?:duplicates?|dedup\w*|rows?|lines?|pii|whitespace|columns?|samples?|examples?|noise|outliers?)\b", re.I
)
_PATTERNS: dict[str, str] = {
    "destructive": rf"\b{_DESTROY}\b(?P<object>(?:\W+[\w'/.-]+){{0,5}}?\W+{_RESOURCE})\b",
    "custom_loss": r"\bcustom(?:ised|ized)?[- ]loss\b|\bown loss\b|\bhybrid (?:objective|loss)"
    r"|\bloss function (?:of|that|which) (?:my|our|i)|"
    r"\bcustom beta schedules?|\bcustom objective|\bwrite (?:a|my|our) (?:own )?loss",
    "training_loop": r"\btraining loops?\b|\bcustom (?:python )?(?:training )?(?:script|loop)\b"
    r"|\barbitrary python\b|\bmy own (?:python )?loop",
    "hotload": r"\bhot[- ]?load\w*|\bmid[- ]training (?:sampling|inference|evaluation)"
    r"|\bsampl\w+ (?:from )?(?:\w+ ){0,3}(?:mid|during)[- ]?training"
    r"|\binference[- ]in[- ]the[- ]loop|\bweight sync",
    "full_parameter": r"\bfull[- ](?:parameter|param|weight|weights|model|rank)\b(?: (?:fine-?)?tun\w+| training)?"
    r"|\bfull fine-?tun\w+|"
    r"\ball (?:the )?(?:weights|parameters)\b|\bnot (?:using )?lora\b|\bwithout lora\b|\bfft\b",
    "rft_training": r"\brftj?\b|\breinforcement[- ](?:fine-?tuning|learning)|\brl fine-?tun\w+|\bgrpo\b|\bgspo\b"
    r"|\bdapo\b|\brlvr\b",
    "unattended": r"\b(?:without|no|skip(?:ping)?|bypass(?:ing)?) (?:any |the |an? |my |your )?"
    r"(?:human |manual |cost )?approvals?\b(?! needed)|\bfully automat\w+|\bunattended\b|\bauto-?approve everything\b",
    "submit_only": r"\b(?:just|only|simply) (?:want(?:s|ed)? (?:to|you to) )?submit (?:a|an|the|one|my|this) "
    r"(?:[\w-]+ ){0,3}jobs?\b",
    "unknown_method": r"\bppo\b|\bkto\b|\bsimpo\b|\bipo\b|\brlhf\b|\brlaif\b|\bdistill?(?:ation|ing)?\b"
    r"|\b(?:continued )?pre-?train\w*"
    r"|\bquanti[sz]\w+|\bmodel merging|\bprefix tuning|\bprompt tuning|\bqlora\b|\bdora\b|\bsoft prompts?",
}


def find_unsupported(text: str) -> Unsupported | None:
    """The first unsupported wish that is really wished for: negated ones ("do not delete anything") are not."""
    for kind in get_args(Unsupported):
        if kind in _PATTERNS and any(_meant(kind, text, match) for match in re.finditer(_PATTERNS[kind], text, re.I)):
            return kind
    return None


def _meant(kind: str, text: str, match: re.Match[str]) -> bool:
    if kind == "full_parameter" and re.match(r"not|without", match[0], re.I):
        return True
    if negated(text, match.start()):
        return False
    if kind == "destructive":
        return not _HARMLESS.search(match["object"])
    if kind == "rft_training":
        rest = text[match.end() : match.end() + 24]
        return not re.match(r"[\s-]*(?:\w+\s)?evaluator", rest, re.I)
    return True
