"""Settings that people name and that no plan here can take up: they are told so in the plan, never dropped silently."""

import re

_VALUE = r"(?:(?:\s+(?:of|to|at|is|steps?|rate|ratio))*\s*[:=]?\s*\d[\w.,%-]*)?"
_SETTINGS = [
    rf"(?:effective |global |micro )?batch[- ]?sizes?{_VALUE}",
    rf"(?:(?:\d[\w.%-]* )(?:steps? of )?)?warm-?up(?: steps?| ratio)?{_VALUE}",
    rf"weight[- ]decay{_VALUE}",
    rf"(?:lora[- ]?)?dropout{_VALUE}",
    r"(?:random )?seed\s*[:=]?\s*(?:of |to )?\d+",
    rf"gradient (?:accumulation|clipping|checkpointing)(?: steps?)?{_VALUE}",
    r"(?:cosine|linear|constant|polynomial)(?: learning[- ]rate| lr)? (?:schedule|decay|annealing)\w*",
    r"(?:adamw?|sgd|lion|adafactor|muon)(?: optimi[sz]er)\b",
    rf"(?:max(?:imum)? )?(?:sequence|context)[- ]length{_VALUE}",
    rf"(?:lora[- ])alpha{_VALUE}",
    r"target modules?(?: [\w, ]{1,40})?",
    rf"label smoothing{_VALUE}",
    r"(?:4|8)-?bit|bf16|fp16|fp8|mixed precision",
    r"\d+ (?:gpus?|nodes?|accelerators?)",
    rf"(?:early[- ]stopping )?patience{_VALUE}",
]
_PATTERN = re.compile("|".join(rf"\b(?:{setting})" for setting in _SETTINGS), re.I)
MOST = 8
"""Told, at most."""


def find_unread(text: str) -> list[str] | None:
    """Such settings as they were written, in order; None without any."""
    found = [" ".join(match[0].split()).rstrip(" .,;:") for match in _PATTERN.finditer(text)]
    return list(dict.fromkeys(found))[:MOST] or None
