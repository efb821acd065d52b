"""How the sweep is run, in words: which grid, and whether weak candidates are stopped on the way."""

import re
from typing import Any

from runner.interpreter.text import negated

_WEAK = r"(?:weak|poor|bad|worse|worst|los|lagg|hopeless|unpromising|low)\w*"
_RUNS = r"(?:candidates?|runs?|half|ones|jobs?|configs?|configurations?|trials?)"
_PRUNE = re.compile(
    rf"\bsuccessive[- ]halving\b|\basha\b|\bprun(?:e|es|ing)\b"
    rf"|\b(?:stop|cut|end)(?:s|ping|ting|ing)?(?: off)? (?:the |any |all )?(?:{_WEAK} )+(?:(?:performing )?{_RUNS}\b)?",
    re.I,
)
_BOTH = r"(?:lora )?ranks? and (?:the )?learning[- ]?rates?|learning[- ]?rates? and (?:the )?(?:lora )?ranks?"
_GRIDS: dict[str, re.Pattern[str]] = {
    "full": re.compile(
        rf"\bfull[- ](?:factorial|grid|cross)\b|\ball combinations\b|\bcross (?:the )?(?:{_BOTH})|\bcomplete grid\b",
        re.I,
    ),
    "separated": re.compile(
        rf"\b(?:separat\w+|disentangl\w+|decoupl\w+) (?:the )?(?:grid|{_BOTH})"
        rf"|\b(?:{_BOTH}) (?:separately|independently|apart|one at a time|on their own)|\bone (?:factor )?at a time\b",
        re.I,
    ),
    "usual": re.compile(r"\b(?:usual|documented|default|standard) grid\b", re.I),
}


def find_sweep_settings(text: str) -> dict[str, Any]:
    """The fields `prune` and `grid`, as far as said."""
    said: dict[str, Any] = {}
    if match := _PRUNE.search(text):
        skipped = re.search(r"\b(?:skip|omit|no) (?:the )?$", text[: match.start()], re.I)
        said["prune"] = not (skipped or negated(text, match.start(), reach=3))
    for grid, pattern in _GRIDS.items():
        if (match := pattern.search(text)) and not negated(text, match.start(), reach=3):
            said["grid"] = grid
            break
    return said
