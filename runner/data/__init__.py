"""The dataset as the runner works on it: staged once, profiled, converted, split."""
