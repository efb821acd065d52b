"""An Eval Protocol evaluator for reinforcement fine-tuning: written, validated, registered after approval [A213-A217].

The session's own evaluator, which has passed its gate, is made an `@evaluation_test`. Training with it is not ours:
the session ends with the command that starts it.
"""
