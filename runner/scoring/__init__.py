"""Scores: who won the sweep, what a task metric says, and how sure that is."""
