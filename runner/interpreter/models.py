"""Base models by ID, resource name or display name: "Qwen3 32B", "qwen3-32b" and the full name are the same [A127]."""

import re

from runner.interpreter.text import negated

TUNABLE = (
    "gemma-4-26b-a4b-it", "gemma-4-31b-it", "glm-5p1", "kimi-k2p5", "kimi-k2p6", "llama-v3p3-70b-instruct",
    "minimax-m2p5", "nemotron-nano-3-30b-a3b", "qwen3-235b-a22b-instruct-2507", "qwen3-30b-a3b",
    "qwen3-30b-a3b-instruct-2507", "qwen3-32b", "qwen3-4b", "qwen3-8b", "qwen3-vl-8b-instruct", "qwen3p5-27b",
    "qwen3p5-35b-a3b", "qwen3p5-397b-a17b", "qwen3p5-9b", "qwen3p6-27b",
)  # fmt: skip
"""The documented table [P46]; the platform's own list is the authority."""
_ALSO_NAMED = ("llama-v3p1-8b-instruct", "llama-v3p1-70b-instruct", "qwen3-0p6b", "qwen2p5-vl-32b-instruct",
               "ember-500k", "ember-1m")  # fmt: skip
_KNOWN = sorted((*TUNABLE, *_ALSO_NAMED), key=len)

_FAMILY = (
    r"(?:qwen|llama|gemma|glm|kimi|minimax|nemotron|deepseek|phi|mistral|mixtral|gpt[- ]oss|ember|smollm|olmo|granite)"
)
_VERSION = r"(?:[- ]?[vkmr]?\d+(?:[.p]\d+)?(?![\d.]*[bmk]\b))?"
_SIZE = r"\d+(?:[.p]\d+)?[bmk]\b"
_PART = (
    rf"(?:{_SIZE}|a\d+(?:[.p]\d+)?b\b|\d{{4}}\b|(?:vl|nano|it|instruct|base|chat|coder|thinking|mini|large|small)\b)"
)
_MENTION = re.compile(rf"\b{_FAMILY}{_VERSION}(?:[- ](?:{_PART}|\d+(?=[- ]\d+b)))*", re.IGNORECASE)
_FULL = re.compile(r"accounts/([a-z0-9-]+)/models/([A-Za-z0-9._-]*[A-Za-z0-9])")
_PLAIN = re.compile(
    r"\bbase[- _]?models?\s*(?:is|are|=|:|named|called)?\s*['\"`]?([a-z][a-z0-9]*(?:-[a-z0-9]+)+)\b", re.I
)
_VERSION_ONLY = re.compile(r"(?:glm|kimi|minimax|deepseek|phi)", re.IGNORECASE)


def find_models(text: str) -> list[str]:
    """Base models named in `text`, in order, each once: short IDs (other accounts' models by full name).

    Negated mentions ("instead of Qwen3 8B") do not count; a family without a size ("Qwen3") is not a model.
    """
    found: dict[int, str] = {}
    for match in _FULL.finditer(text):
        found[match.start()] = match[2] if match[1] == "fireworks" else match[0]
    masked = _FULL.sub(lambda match: " " * len(match[0]), text)
    masked = re.sub(r"accounts/\S+", lambda match: " " * len(match[0]), masked)
    for match in _MENTION.finditer(masked):
        if re.search(_SIZE, match[0], re.IGNORECASE) or (_VERSION_ONLY.match(match[0]) and re.search(r"\d", match[0])):
            found[match.start()] = resolve_model(match[0])
    for match in _PLAIN.finditer(masked):
        if not any(abs(position - match.start(1)) < 2 for position in found):
            found[match.start(1)] = resolve_model(match[1])
    kept = [name for position, name in sorted(found.items()) if not negated(text, position, reach=3)]
    return list(dict.fromkeys(kept))


def resolve_model(mention: str) -> str:
    """The short ID of a mention; an unknown one keeps its own spelling in ID form."""
    name = re.sub(r"[\s_]+", "-", mention.strip().lower())
    name = re.sub(r"(?<=\d)\.(?=\d)", "p", name)
    name = re.sub(r"^(qwen|smollm|olmo)-(?=\d)", r"\1", name)
    name = re.sub(r"^llama-?v?(?=\d)", "llama-v", name)
    name = re.sub(r"^(kimi|minimax|deepseek)-?(?=[kmrv]\d)", r"\1-", name)
    if name in _KNOWN:
        return name
    return next((known for known in _KNOWN if known.startswith(f"{name}-")), name)
