"""Numbers a person gives: hyperparameters, counts, shares, money, targets."""

import re
from collections.abc import Callable
from typing import Literal

from runner.interpreter.intent import Target
from runner.interpreter.text import NUMBER_WORDS, negated

_NUMBER = (  # quantifiers are bounded, so that no text makes the search slow
    r"(?<![\d,.])(?:\d{1,6}(?:,\d{3}){1,3}(?:\.\d{1,9})?|(?:\d{0,12}\.)?\d{1,12}"
    r"(?:\s?e\s?[-+]?\d{1,3}|\s?x\s?10\s?\^?\s?-?\d{1,3})?|\d{1,9}(?:\.\d{1,9})?[km]\b)"
)
_ITEM = rf"{_NUMBER}(?!\w)(?!\s*(?:full |training )?(?:epochs?|jobs?|samples?|rows?|examples?|%|percent|parallel)\b)"
_LIST = rf"{_ITEM}(?:(?:\s*(?:,|/|&|\band\b|\bor\b)\s*)+(?:(?:rank|lr|beta)s?\s*)?{_ITEM})*"
_WORD = "|".join(NUMBER_WORDS)
_COUNT = rf"(?<![\d,.])(\d[\d,]{{0,12}}(?:\.\d{{1,6}})?k?\b|\b(?:{_WORD}))"
_GLUE = r"(?:\s*(?:(?:of|at|to|is|are|be|as|equal to|values?|with|from)\b|=|:))*\s*"
_WINDOW = 160
"""Characters beside a word in which its numbers are looked for."""
_MENTIONS = 40
_METRICS = {
    "accuracy": r"accuracy|acc\b",
    "win_rate": r"win[- ]?rates?",
    "f1": r"(?:macro[- ]?)?f1(?:[- ]score)?",
    "eval_loss": r"(?:eval(?:uation)?|validation|val)[- ]loss",
    "exact_match": r"exact[- ]match",
}
_METRIC = "|".join(f"(?P<{name}{{0}}>{pattern})" for name, pattern in _METRICS.items())
_OPS = {
    ">=": r"at least|>=|no less than|not below|or more|or better|minimum(?: of)?|reach(?:es|ing)?|hits?|achieves?"
    r"|get to|of",
    ">": r"above|over|more than|greater than|higher than|exceed(?:s|ing)?|better than|beats?|>|past",
    "<=": r"at most|<=|no more than|up to|maximum(?: of)?",
    "<": r"below|under|less than|lower than|<",
}
_OP = "|".join(f"(?:{pattern})" for pattern in _OPS.values())


def parse_number(text: str) -> float:
    """`1e-4`, `1.5 e-4`, `1x10^-4`, `1,000`, `2k`, `three`."""
    plain = text.lower().replace(",", "").strip()
    if plain in NUMBER_WORDS:
        return float(NUMBER_WORDS[plain])
    plain = re.sub(r"\s?x\s?10\s?\^?\s?", "e", plain).replace(" ", "")
    scale = {"k": 1e3, "m": 1e6}.get(plain[-1], 1.0)
    return float(plain.rstrip("km")) * scale


def find_values(text: str, name: str) -> list[float] | None:
    """The list of numbers that follows (or directly precedes) `name`, a pattern such as `learning[- ]rates?`."""
    mentions = list(re.finditer(rf"\b(?:{name})", text, re.IGNORECASE))[:_MENTIONS]
    for mention in mentions:
        after = text[mention.end() : mention.end() + _WINDOW]
        match = re.match(rf"{_GLUE}(?:both |either |only |just )?({_LIST})", after, re.IGNORECASE)
        if match and not negated(text, mention.start(), reach=3):
            return _numbers(match[1])
    for mention in mentions:
        before = text[max(0, mention.start() - _WINDOW) : mention.start()]
        match = re.search(rf"({_LIST})\s+(?:as\s+(?:the\s+)?|for\s+(?:the\s+)?)?\Z", before, re.IGNORECASE)
        if match and re.match(r"\w*\b", text[mention.end() :]):
            return _numbers(match[1])
    return None


def _numbers(text: str) -> list[float]:
    return list(dict.fromkeys(parse_number(found) for found in re.findall(_NUMBER, text, re.IGNORECASE)))


def find_learning_rates(text: str) -> list[float] | None:
    """Rates between 0 and 1; other numbers after the words are not rates."""
    rates = [rate for rate in find_values(text, r"learning[- ]?rates?|lrs?") or [] if 0 < rate < 1]
    return rates or None


def find_ranks(text: str) -> list[int] | None:
    """LoRA ranks, whole and positive."""
    ranks = find_values(text, r"(?:lora[- ])?ranks?|lora[- ]r|r(?==|\s=)") or []
    ranks = ranks or [
        float(found) for found in re.findall(r"\brank[- ]?(\d+)\b|\br(\d+)\b", text) for found in found if found
    ]
    return [int(rank) for rank in ranks if rank >= 1 and rank == int(rank)] or None


def find_betas(text: str) -> list[float] | None:
    """DPO beta values."""
    return find_values(text, r"betas?")


def find_epochs(text: str) -> float | None:
    """Epochs per run; fractions allowed [P54]."""
    match = re.search(rf"({_NUMBER}|\b(?:{_WORD}))\s*(?:full |training )?epochs?\b", text, re.IGNORECASE)
    if match and not negated(text, match.start(), reach=3):
        return parse_number(match[1])
    found = find_values(text, r"(?:num[-_ ]|number of )?epochs?")
    return found[0] if found else None


def find_hp_samples(text: str) -> int | None:
    """Rows of the sweep's subsample [A151]."""
    rows = r"(?:samples?|rows?|examples?|records?)"
    sweep = r"(?:hp|hyper[- ]?parameter|hyperparameter)[- ](?:tuning|sweep|search)|sweep|tuning|search"
    patterns = [
        rf"{_COUNT}\s+(?:training |random )?{rows}\s+(?:\w+\s+){{0,3}}(?:{sweep})",
        rf"(?:{sweep})\s+(?:on|with|over|using)\s+(?:only |just |a subsample of )?{_COUNT}\s+{rows}",
        rf"sub-?sample\s+(?:\w+\s+){{0,3}}?(?:to|of)\s+{_COUNT}",
    ]
    return _first_count(text, patterns)


def find_parallel(text: str) -> int | None:
    """Training jobs at a time [A152]."""
    jobs = r"(?:training |fine-?tuning |candidate |sweep )?(?:jobs?|runs?|candidates?|trainings?)"
    patterns = [
        rf"{_COUNT}\s+(?:parallel|concurrent|simultaneous|active)\s+{jobs}",
        rf"{_COUNT}\s+{jobs}\s+(?:\w+\s+)?(?:in parallel|at (?:a|one) time|at once|concurrently|simultaneously"
        rf"|in flight)",
        rf"(?:parallelism|concurrency|max[-_ ]parallel[-_ ]jobs)(?:\s*(?:of|to|=|:|at|is))*\s*{_COUNT}",
        rf"in parallel[^.]{{0,20}}?(?:up to|at most|max(?:imum)?)\s*{_COUNT}",
    ]
    return _first_count(text, patterns)


def find_label_count(text: str) -> int | None:
    """How many classes there are, when only their number is said [A17]."""
    classes = r"(?:distinct |different |possible )?(?:categories|classes|labels|intents|topics|buckets)"
    return _first_count(text, [rf"{_COUNT}\s+{classes}\b", rf"\b{_COUNT}-(?:way|class)\b"])


def _first_count(text: str, patterns: list[str]) -> int | None:
    for pattern in patterns:
        if match := re.search(pattern, text, re.IGNORECASE):
            return int(parse_number(match[1]))
    return None


def find_train_fraction(text: str) -> float | None:
    """The training side's share: `70/30 split`, `hold out 10%`, `train on 90%`."""
    if match := re.search(
        r"\b(\d{1,2})\s*[/:-]\s*(\d{1,2})\b(?=[^.]{0,30}\bsplit)|\bsplit[^.]{0,20}?\b(\d{1,2})\s*[/:-]\s*(\d{1,2})\b",
        text,
        re.I,
    ):
        train, rest = (int(part) for part in match.groups() if part)
        return train / 100 if train + rest == 100 else None
    if match := re.search(
        r"(?:hold(?:ing)?[- ]?out|reserve|set aside|keep back)\s+(\d{1,2}(?:\.\d+)?)\s?(?:%|percent)", text, re.I
    ):
        return round(1 - float(match[1]) / 100, 6)
    share = r"(\d{1,2}(?:\.\d+)?)\s?(?:%|percent)"
    if match := re.search(
        rf"train(?:ing)?\s+(?:on|with|fraction)\s+(?:of\s+)?{share}|{share}\s+(?:of (?:the )?(?:data"
        rf"|rows)\s+)?for training",
        text,
        re.I,
    ):
        return float(next(part for part in match.groups() if part)) / 100
    return None


def find_threshold(text: str) -> float | None:
    """The label imbalance ratio above which the plan warns [A188]."""
    found = find_values(text, r"imbalance(?:[- ]ratio)?(?:[- ]threshold)?")
    return found[0] if found else None


def find_budget(text: str) -> float | None:
    """A cap in US dollars [GAP 16]."""
    money = r"(?:\$|usd\s?)\s?(\d[\d,]{0,12}(?:\.\d{1,6})?)|(\d[\d,]{0,12}(?:\.\d{1,6})?)\s?(?:usd|dollars?|bucks|\$)"
    cap = (
        r"budget|spend(?:ing)?|cost(?:s|ing)?|under|below|less than|at most|no more than|max(?:imum)?|within"
        r"|up to|cap|limit|keep|stay"
    )
    if match := re.search(rf"\b(?:{cap})\b[^.$\n]{{0,40}}?(?:{money})", text, re.IGNORECASE):
        return parse_number(next(part for part in match.groups() if part))
    if match := re.search(rf"(?:{money})\s+(?:budget|cap|limit|max(?:imum)?|or less|at most)", text, re.IGNORECASE):
        return parse_number(next(part for part in match.groups() if part))
    return None


def find_target(text: str) -> Target | None:
    """A wanted metric: `win rate above 70%`, `at least 90% accuracy`, `better than GPT-4 mini on accuracy`."""
    metric = _METRIC.format("")
    share = r"(?P<number>\d+(?:\.\d+)?)\s?(?P<percent>%|percent\b)?"
    forms = [
        rf"(?:{metric})\s*(?:is|of|to be|to|must be|should be)?\s*(?P<op>{_OP})\s*{share}",
        rf"(?P<op>{_OP})\s*(?:an? )?{share}\s*(?:{metric})",
        rf"(?P<op>{_OP})\s+(?:an? )?(?:{metric})\s+of\s+{share}",
        rf"(?:{metric})\s*(?:target|goal)?\s*(?P<op>=|:)\s*{share}",
    ]
    for form in forms:
        if match := re.search(form, text, re.IGNORECASE):
            return _target(match)
    other = (
        rf"(?:better than|beats?|outperforms?|exceeds?|matches)\s+(?P<model>[A-Z][\w.-]*(?:[ -](?:\d[\w.]*|mini"
        rf"|nano|pro|turbo|flash|opus|sonnet|haiku))*)\s+(?:on|in|at|for)\s+(?:{metric})"
    )
    if match := re.search(other, text, re.IGNORECASE):
        return Target(
            metric=_metric(match), op=">" if "match" not in match[0].lower() else ">=", value=match["model"].strip()
        )
    return None


def _target(match: re.Match[str]) -> Target:
    value, metric = float(match["number"]), _metric(match)
    if match["percent"] or (metric != "eval_loss" and value > 1):
        value = round(value / 100, 6)
    return Target(metric=metric, op=_op(match["op"]), value=value)


def _metric(match: re.Match[str]) -> str:
    return next(name for name in _METRICS if match[name])


def _op(words: str) -> Literal[">", ">=", "<", "<=", "=="]:
    found = next((op for op, pattern in _OPS.items() if re.fullmatch(pattern, words, re.IGNORECASE)), ">=")
    return found  # type: ignore[return-value]


FINDERS: dict[str, Callable[[str], object]] = {
    "lora_ranks": find_ranks,
    "learning_rates": find_learning_rates,
    "betas": find_betas,
    "epochs": find_epochs,
    "hp_samples": find_hp_samples,
    "max_parallel_jobs": find_parallel,
    "train_fraction": find_train_fraction,
    "imbalance_threshold": find_threshold,
    "budget_usd": find_budget,
    "label_count": find_label_count,
    "target": find_target,
}
"""One finder per numeric Intent field; each returns None when nothing is said."""
