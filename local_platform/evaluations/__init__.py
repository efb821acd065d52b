"""Evaluation jobs: the answers in a dataset, scored by an evaluator; the scores are a dataset."""
