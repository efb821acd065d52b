"""An independent reading of pilot.yaml: which method a request is that reached the platform."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from tests.adversary.platform import Seen


@dataclass(frozen=True)
class Entry:
    """One method of the manifest that can be called."""

    method: str
    kind: str
    verb: str
    pattern: re.Pattern[str]
    created_only: bool


@cache
def entries() -> tuple[Entry, ...]:
    """All routable methods. The registry's aliases of inference are the one thing that pilot.yaml does not say."""
    document: Any = yaml.safe_load(resources.files("manifest").joinpath("pilot.yaml").read_text("utf-8"))
    found = [entry for group in document["groups"] for entry in group["methods"] if entry.get("routable", True)]
    return tuple(_compile(entry) for entry in found)


def method_of(seen: Seen) -> Entry | None:
    """The entry that a logged request is an instance of; None: it is outside the manifest."""
    return next((e for e in entries() if e.verb == seen.verb and e.pattern.fullmatch(seen.path)), None)


def _compile(entry: dict[str, Any]) -> Entry:
    parts = re.split(r"\{[A-Za-z]+\}", entry["path"])
    pattern = "[A-Za-z0-9][A-Za-z0-9._-]*".join(re.escape(part) for part in parts)
    prefix = "" if pattern.startswith("/v1/accounts") else "(?:/inference)?"
    created = entry.get("target") == "created"
    return Entry(entry["method"], entry["kind"], entry["verb"], re.compile(prefix + pattern), created)
