"""What an evaluator requires: pinned packages from the package index, and nothing else.

A requirement is code that somebody else may run here, so it is read by a closed grammar: no options, no URLs, no paths.
"""

import re

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pilotlight.errors import InvalidArgument

PROTOCOL_PACKAGES = ("eval-protocol==0.3.33",)
"""What evaluations of Eval Protocol are validated with, in every session."""
MOST = 100
"""Packages of one evaluator."""
_COMMENT = re.compile(r"(?:^|\s)#.*$")


def parse_requirements(text: str) -> tuple[str, ...]:
    """The packages of a requirements.txt as `name==version`, sorted, each once.

    Raises InvalidArgument, naming the line: an option, a URL, a path, no exact version, or a package with two.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = _COMMENT.sub("", line).strip()
        if not words:
            continue
        name, pinned = _parse(words, number)
        if found.setdefault(name, pinned) != pinned:
            raise _bad(number, words, "the package is named twice with different versions")
    if len(found) > MOST:
        raise InvalidArgument(f"The evaluator requires {len(found)} packages, more than {MOST}.")
    return tuple(found[name] for name in sorted(found))


def _parse(words: str, number: int) -> tuple[str, str]:
    try:
        requirement = Requirement(words)
    except InvalidRequirement as error:
        raise _bad(number, words, "it is not a package with a version") from error
    if requirement.url:
        raise _bad(number, words, "packages come from the package index, not from a URL")
    if requirement.marker and not requirement.marker.evaluate():
        raise _bad(number, words, "its marker does not hold here; leave the line out")
    versions = list(requirement.specifier)
    if len(versions) != 1 or versions[0].operator != "==" or versions[0].version.endswith(".*"):
        raise _bad(number, words, "its version is not pinned")
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    name = canonicalize_name(requirement.name)
    return name, f"{name}{extras}=={versions[0].version}"


def _bad(number: int, words: str, reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"Line {number} of the evaluator's requirements, {words[:80]!r}, cannot be used: {reason}.",
        hint="Write one package a line with its exact version, such as `rapidfuzz==3.14.1`.",
    )
