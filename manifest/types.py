"""The shapes of `registry.yaml` and `pilot.yaml`. A malformed file fails at import, not at the first request."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Verb = Literal["GET", "POST", "PATCH", "DELETE"]
Kind = Literal["read", "create", "spend", "infer"]
Action = Literal["read", "infer", "create", "change", "delete", "keys", "users", "catalogue"]
FieldTypes = dict[str, str | dict[str, str]]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RouteEntry(_Closed):
    """One REST route and the method it is. The comments on top of `registry.yaml` define the fields."""

    method: str = Field(pattern=r"^[A-Z][A-Za-z]+$")
    verb: Verb
    path: str = Field(pattern=r"^/")
    aliases: list[str] = Field(default_factory=list)
    surface: Literal["platform", "control", "gateway"] = "platform"
    action: Action
    public: bool = False
    sessions_only: bool = False
    query: list[str] = Field(default_factory=list)
    body: FieldTypes | Literal["empty", "multipart"] | None = None
    free: list[str] = Field(default_factory=list)


class PilotEntry(_Closed):
    """One method that the preset may call."""

    method: str = Field(pattern=r"^[A-Z][A-Za-z]+$")
    kind: Kind = Field(description="read, create (free of charge), spend (costs money), infer (inference)")
    why: str = Field(min_length=10, max_length=200, description="Why the Agent needs it, one line")
    verb: Verb | None = None
    path: str | None = None
    routable: bool = Field(default=True, description="False: named in the documents, absent from the public REST API")
    cloud_only: bool = Field(default=False, description="True: the local platform does not offer it and answers 501")
    target: Literal["any", "created"] = Field(
        default="any", description="created: only on a resource that the same session created"
    )
    withheld: list[str] = Field(
        default_factory=list,
        description="Fields that the preset may not send: they publish, replace, or reach outside of the platform",
    )
    billing: Literal["job", "deployment", "call"] | None = Field(
        default=None, description="How a spend or infer call is reserved and settled"
    )

    @model_validator(mode="after")
    def _check_route(self) -> Self:
        if self.routable != (self.verb is not None and self.path is not None):
            raise ValueError(f"{self.method}: verb and path are for routable methods, and required there")
        if (self.billing is not None) != (self.kind in ("spend", "infer")):
            raise ValueError(f"{self.method}: billing is for spend and infer, and required there")
        return self


class PilotGroup(_Closed):
    """One capability surface [A75-A82]."""

    name: str
    methods: list[PilotEntry]


class PilotManifest(_Closed):
    """`pilot.yaml`: all that the preset `pilot` may ever do [A74]."""

    preset: Literal["pilot"]
    version: int = Field(ge=1, description="Raised with every change of the list")
    groups: list[PilotGroup]

    @model_validator(mode="after")
    def _check_unique(self) -> Self:
        names = [entry.method for entry in self.entries()]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"listed twice: {sorted(twice)}")
        return self

    def entries(self) -> list[PilotEntry]:
        """All methods, in the order of the file."""
        return [entry for group in self.groups for entry in group.methods]
