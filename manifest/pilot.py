"""The capability manifest of the preset `pilot`, loaded once [A74]."""

from functools import cache
from types import MappingProxyType

from manifest.registry import load_yaml
from manifest.types import PilotEntry, PilotManifest

PRESETS = ("pilot",)


@cache
def load_pilot() -> PilotManifest:
    """Parse and check `pilot.yaml`. Raises pydantic.ValidationError."""
    return PilotManifest.model_validate(load_yaml("pilot.yaml"))


@cache
def pilot_methods() -> MappingProxyType[str, PilotEntry]:
    """Routable methods of the manifest by name."""
    return MappingProxyType({entry.method: entry for entry in load_pilot().entries() if entry.routable})
