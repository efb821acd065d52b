"""One forward pass: the loss of each trained token of a pack."""

from dataclasses import dataclass

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy

from local_platform.training.kernels import Selection, speed_up
from local_platform.training.model import Device
from local_platform.training.packing import Pack


@dataclass(frozen=True)
class Network:
    """The model as the loop and the evaluation call it. On a CPU with faster, equal layers."""

    model: PeftModel
    layers: torch.nn.Module
    device: Device
    selection: Selection | None

    def losses(self, pack: Pack) -> torch.Tensor:
        """(L,) float32 cross-entropies, unweighted. The head runs on the L predicting places only."""
        if self.selection is not None:
            self.selection.places = pack.predicting
        half = self.device.gpu and self.device.dtype == torch.bfloat16
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            logits = self.layers(
                input_ids=pack.ids,
                position_ids=pack.positions,
                layout=pack.layout,
                logits_to_keep=pack.predicting,
                use_cache=False,
            ).logits
        return cross_entropy(logits[0].float(), pack.targets, reduction="none")


def build_network(model: PeftModel, device: Device) -> Network:
    """Wrap the model, and speed its layers up where that is known to be equal: float32 on a CPU."""
    fast = device.device.type == "cpu" and device.dtype == torch.float32
    return Network(model, model.get_base_model(), device, speed_up(model) if fast else None)
