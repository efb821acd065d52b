"""Writes the JSON Schema of `pilot.yaml` from its types: `python -m manifest.schema`."""

import json
from pathlib import Path

from manifest.types import PilotManifest


def render() -> str:
    """The schema file's text; a test compares it with what is checked in."""
    return json.dumps(PilotManifest.model_json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("pilot.schema.json").write_text(render(), "utf-8")
