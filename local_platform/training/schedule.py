"""The learning rate as a pure function of the step, so that a resumed job needs no scheduler state."""


def learning_rate(step: int, total: int, warmup: int, peak: float) -> float:
    """Of the step after `step` finished ones: a linear ramp from 0 to `peak`, then linearly down to 0 at `total`."""
    if step < warmup:
        return peak * step / warmup
    return peak * max(0, total - step) / max(1, total - warmup)
