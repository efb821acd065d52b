"""Judges: which of two answers to a prompt is better, by a rubric, a rule or an evaluator, asked in both orders."""
