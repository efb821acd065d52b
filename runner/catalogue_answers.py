"""Answers to questions about the platform, from what it says itself. Whatever else is asked is said not to be known."""

import prompts
from runner.planning.catalogue import list_bases
from runner.turn import Turn


def answer(turn: Turn, question: str) -> str:
    """Markdown. Questions about base models get the list [A20]; others are told what can be asked."""
    bases = list_bases(turn.client, turn.context.account)
    known = any(word in question.casefold() for word in ("model", "base", "support"))
    return prompts.render("answer.md.j2", known=known, bases=bases, question=question)
