"""Bodies of the evaluators resource, as the official SDK sends them [P99-P103]."""

from typing import Any, Literal

from pydantic import Field

from pilotlight.errors import InvalidArgument, Unimplemented
from pilotlight.names import parse_name
from pilotlight.requirements import parse_requirements
from pilotlight.wire import Wire


class Source(Wire):
    """Where the code comes from."""

    type: Literal["TYPE_UNSPECIFIED", "TYPE_UPLOAD", "TYPE_GITHUB", "TYPE_TEMPORARY"] | None = None
    github_repository_name: str | None = Field(default=None, max_length=300)


class EvaluatorBody(Wire):
    """The `evaluator` object of create, and the body of update."""

    display_name: str | None = Field(default=None, max_length=63)
    description: str | None = Field(default=None, max_length=4000)
    requirements: str | None = Field(default=None, max_length=20_000)
    entry_point: str | None = Field(default=None, max_length=300)
    commit_hash: str | None = Field(default=None, max_length=100)
    default_dataset: str | None = Field(default=None, max_length=300)
    source: Source | None = None
    criteria: list[dict[str, Any]] | None = None

    def checked(self) -> "EvaluatorBody":
        """Itself. Raises Unimplemented for what the local platform does not offer, InvalidArgument for a bad value."""
        if self.criteria:
            raise Unimplemented("criteria are not supported: upload the source with :getUploadEndpoint.")
        if self.source and (self.source.type == "TYPE_GITHUB" or self.source.github_repository_name):
            raise Unimplemented("The local platform reads no repositories: upload the source.")
        if self.default_dataset:
            parse_name(self.default_dataset, "datasets")
        parse_requirements(self.requirements or "")
        return self

    def fields(self) -> dict[str, Any]:
        """What was given, by its names on the wire."""
        return self.model_dump(by_alias=True, exclude_none=True, exclude={"criteria"})


class CreateBody(Wire):
    """Body of evaluators.create."""

    evaluator: EvaluatorBody
    evaluator_id: str = ""


UPDATABLE = frozenset({"displayName", "description", "requirements", "entryPoint", "commitHash", "defaultDataset"})
REBUILDS = frozenset({"requirements", "entryPoint"})
"""Changing one of these builds the evaluator again [P103]."""


def check_sizes(sizes: dict[str, int]) -> dict[str, int]:
    """An evaluator's source is one archive. Raises InvalidArgument."""
    if len(sizes) != 1 or not all(name.endswith((".tar.gz", ".tgz")) for name in sizes):
        raise InvalidArgument(
            "An evaluator's source is one .tar.gz.", hint='Write filenameToSize as {"source.tar.gz": "<bytes>"}.'
        )
    if sum(sizes.values()) > MOST_ARCHIVE:
        raise InvalidArgument(f"An evaluator's source has at most {MOST_ARCHIVE >> 20} MiB.")
    return sizes


MOST_ARCHIVE = 4 << 20
