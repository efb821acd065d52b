"""The built-in interpreter: documented phrases to typed values, without a model. Pure: no I/O."""

from runner.interpreter.intent import Intent, Reply
from runner.interpreter.interpret import interpret
from runner.interpreter.reply import interpret_reply

__all__ = ["Intent", "Reply", "interpret", "interpret_reply"]
