def evaluate(completion):
    return 0.5
