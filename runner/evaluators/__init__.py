"""Evaluators: a Python file that scores a model's answer against a row of the dataset.

The contract of `outputs/evaluator.py`, and of every evaluator that this package runs:

    def evaluate(row: dict, completion: str) -> float | dict

`row` is the dataset's row with `messages` (the conversation before the answer) and `ground_truth` (the right answer as
text: the row's own `ground_truth`, or its last assistant message); its other columns are as they are. `completion` is
what the model answered. The result is a number from 0.0 (wrong) to 1.0 (right), or an object with that number as
`score`. Whatever else it returns, and any exception, scores 0.0 and is reported. It is called once for each row, in a
sandbox without files, network or keys, with the packages of Pilotlight importable; it must give the same result for the
same input, whatever it was called with before.
"""
