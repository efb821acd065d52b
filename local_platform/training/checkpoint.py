"""All that a run needs to go on as if it had never stopped, in one file that is replaced whole."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from local_platform.training.files import replace_file
from pilotlight.errors import FailedPrecondition

NAME = "latest.pt"


@dataclass
class Position:
    """Where a run is. The order of the data follows from the seed and `step` alone."""

    step: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    evaluated_step: int = -1
    """The last step whose evaluation is in metrics.jsonl."""
    loss: float | None = None
    eval_loss: float | None = None
    record: float | None = None
    """The lowest evaluation loss so far, the untrained model included."""
    record_before: float | None = None
    """The same, at the start of the epoch."""
    best_loss: float | None = None
    """The lowest evaluation loss after training began; its adapter is kept."""
    best_step: int | None = None
    epoch_losses: dict[str, float] = field(default_factory=dict[str, float])
    """Evaluation loss by finished epochs."""
    base_rows: list[float] = field(default_factory=list[float])
    """Summed loss by held-out row of the untrained model; and of the best one."""
    best_rows: list[float] = field(default_factory=list[float])
    metrics_bytes: int = 0
    measures: dict[str, float] = field(default_factory=dict[str, float])
    """Of the last step, beside its loss; the following ones of evaluations: of the last, the base model's, the best."""
    eval_measures: dict[str, float] = field(default_factory=dict[str, float])
    base_measures: dict[str, float] = field(default_factory=dict[str, float])
    best_measures: dict[str, float] = field(default_factory=dict[str, float])

    def shown_measures(self) -> dict[str, dict[str, float]]:
        """Those there are, by what they are of."""
        named = {"train": self.measures, "eval": self.eval_measures, "base": self.base_measures}
        return {name: measures for name, measures in named.items() if measures}


Tensors = dict[str, torch.Tensor]


@dataclass
class Checkpoint:
    """A position with the weights that belong to it."""

    position: Position
    adapter: Tensors
    best: Tensors | None
    optimizer: dict[str, Any]


def save_checkpoint(directory: Path, digest: str, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint, random state included."""
    directory.mkdir(parents=True, exist_ok=True)
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    content = {
        "digest": digest,
        "position": asdict(checkpoint.position),
        "adapter": checkpoint.adapter,
        "best": checkpoint.best,
        "optimizer": checkpoint.optimizer,
        "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
    }
    with replace_file(directory / NAME) as file:
        torch.save(content, file)


def load_checkpoint(directory: Path, digest: str) -> Checkpoint | None:
    """The checkpoint, with the random state put back; None when there is none.

    Raises FailedPrecondition when it belongs to another specification.
    """
    path = directory / NAME
    if not path.exists():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["digest"] != digest:
        raise FailedPrecondition("The checkpoint in the work directory belongs to a job with other settings.")
    torch.set_rng_state(content["random"]["cpu"])
    if content["random"]["cuda"]:
        torch.cuda.set_rng_state_all(content["random"]["cuda"])
    return Checkpoint(Position(**content["position"]), content["adapter"], content["best"], content["optimizer"])
