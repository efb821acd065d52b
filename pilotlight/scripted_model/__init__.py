"""A model server that speaks the Anthropic Messages API and says what a script tells it to.

For tests, demonstrations and work without a network: the wire format is checked against the official SDK.
"""

from pilotlight.scripted_model.script import Failure, TextPart, ToolPart, Turn
from pilotlight.scripted_model.server import Received, ScriptedModel

__all__ = ["Failure", "Received", "ScriptedModel", "TextPart", "ToolPart", "Turn"]
