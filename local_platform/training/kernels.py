"""The same arithmetic with fewer passes over memory, for float32 on a CPU, where small layers are bound by it.

PEFT's LoRA layer and the usual RMS norm become one autograd node each, and the last layer computes only what the loss
reads. Parameters, names and checkpoints stay those of PEFT; a test holds losses and gradients against the originals.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from peft import PeftModel
from peft.tuners.lora.layer import Linear as LoraLayer


class _LoraLinear(torch.autograd.Function):
    """x W^T + bias + scale (x A^T) B^T with gradients for x, A and B; W and the bias are frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        low = rows @ a.t()
        out = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
        out.addmm_(low, b.t(), alpha=scale)
        ctx.save_for_backward(rows, low, weight, a, b)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, low, weight, a, b = ctx.saved_tensors
        gradient = grad_outputs[0].reshape(-1, grad_outputs[0].shape[-1])
        back = (gradient @ b).mul_(ctx.scale)
        to_b = (gradient.t() @ low).mul_(ctx.scale)
        to_a = back.t() @ rows
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (gradient @ weight).addmm_(back, a).view(ctx.shape)
        return to_x, None, None, to_a, to_b, None


class _RmsNorm(torch.autograd.Function):
    """x / rms(x) * weight over the last dimension; the weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        normal = x * scale
        ctx.save_for_backward(normal, scale, weight)
        return normal * weight

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        normal, scale, weight = ctx.saved_tensors
        gradient = grad_outputs[0] * weight
        along = (gradient * normal).mean(-1, keepdim=True)
        return gradient.addcmul_(normal, along, value=-1).mul_(scale), None, None


class Selection:
    """The places of the current pack that predict a trained token; set before each forward pass."""

    def __init__(self) -> None:
        self.places: torch.Tensor | None = None

    def apply(self, inner: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        """`inner`, which works on each place alone, at the selected places of (1, tokens, size); zeros elsewhere."""
        if self.places is None:
            return inner(x)
        return _Spread.apply(inner(x[:, self.places]), self.places, x.shape[1])


class _Spread(torch.autograd.Function):
    """(1, selected, size) -> (1, tokens, size) with zeros between."""

    @staticmethod
    def forward(ctx: Any, selected: torch.Tensor, places: torch.Tensor, tokens: int) -> torch.Tensor:
        ctx.places = places
        spread = selected.new_zeros(1, tokens, selected.shape[-1])
        spread[:, places] = selected
        return spread

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return grad_outputs[0][:, ctx.places], None, None


def speed_up(model: PeftModel) -> Selection:
    """Replace the forward methods in place. Layers of a kind not known to be equal stay as they are."""
    selection = Selection()
    for module in model.modules():
        if isinstance(module, LoraLayer) and _is_plain(module):
            module.forward = partial(_lora_forward, module)
        elif _is_rms_norm(module):
            module.forward = partial(_norm_forward, module)
    layers = getattr(getattr(model.get_base_model(), "model", None), "layers", None)
    if isinstance(layers, torch.nn.ModuleList) and len(layers):
        _restrict(layers[-1], selection)
    return selection


def _lora_forward(layer: LoraLayer, x: torch.Tensor) -> torch.Tensor:
    base = cast(torch.nn.Linear, layer.get_base_layer())
    if layer.disable_adapters:
        return base(x)
    (name,) = layer.active_adapters
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    return cast(torch.Tensor, _LoraLinear.apply(x, base.weight, base.bias, a, b, layer.scaling[name]))


def _norm_forward(norm: Any, x: torch.Tensor) -> torch.Tensor:
    return cast(torch.Tensor, _RmsNorm.apply(x, norm.weight, norm.variance_epsilon))


def _is_plain(layer: LoraLayer) -> bool:
    """One float32 adapter on a float32 linear layer: no dropout, no variant, nothing merged."""
    (name,) = layer.active_adapters
    dtypes = {parameter.dtype for parameter in layer.parameters()}
    plain = isinstance(layer.get_base_layer(), torch.nn.Linear) and not layer.lora_variant and not layer.merged
    return plain and isinstance(layer.lora_dropout[name], torch.nn.Identity) and dtypes == {torch.float32}


def _is_rms_norm(module: torch.nn.Module) -> bool:
    """Whether a norm really computes what _RmsNorm does; some families scale by 1 + weight."""
    weight, epsilon = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if not type(module).__name__.endswith("RMSNorm") or not isinstance(weight, torch.Tensor) or epsilon is None:
        return False
    x = torch.linspace(-1, 2, 2 * weight.numel()).view(2, -1)
    with torch.no_grad():
        return weight.dtype == torch.float32 and torch.allclose(module(x), _norm_forward(module, x), atol=1e-6)


def _restrict(layer: torch.nn.Module, selection: Selection) -> None:
    """In the last layer only keys and values are read at every place; the rest only where a token is predicted."""
    attention, mlp = getattr(layer, "self_attn", None), getattr(layer, "mlp", None)
    parts = [getattr(attention, "q_proj", None), getattr(attention, "o_proj", None), mlp]
    if any(not isinstance(part, torch.nn.Module) for part in parts):
        return
    if any("expert" in name for name, _ in layer.named_modules()):
        return  # routers count tokens: they must see all of them
    for part in cast(list[torch.nn.Module], parts):
        part.forward = partial(selection.apply, part.forward)
