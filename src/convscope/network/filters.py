"""The filters of a network's layers: the weights that convolutions apply, read off the live modules.

One layout for all, as ``nn.Conv2d`` has it: (units, input channels of a group, rows, columns). ``nn.ConvTranspose2d``
keeps (inputs, units of a group, rows, columns), which is turned round here; its kernel is what one input value paints
onto the output, not what a unit looks for.

What is read is the weight that the layer applies: of a parametrised one (weight or spectral norm, old or new) the
product, without a further power iteration. Pitfall: a layer that changes its weight within ``forward`` itself (weight
standardisation) applies another one than it holds.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from convscope.errors import ConvscopeError, nearest
from convscope.network.evaluation import evaluation
from convscope.network.layers import find_call, named_layers

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, eq=False)
class Filters:
    """All filters of one layer, float32 (or float64) on the CPU. ``groups``: a unit sees 1 / groups of the inputs."""

    layer: str
    type: str
    weights: Float[Tensor, "units channels kh kw"]
    groups: int

    @property
    def inputs(self) -> int:
        """Channels that the layer is given."""
        return self.weights.shape[1] * self.groups


def filter_layers(model: nn.Module) -> list[str]:
    """The layers that hold filters, in order of definition."""
    with evaluation(model), torch.no_grad():  # only to look at a spectral norm's weight iterates, in training mode
        return [name for name, module in named_layers(model).items() if _has_filters(module)]


def filters_of(model: nn.Module, layer: str | None = None) -> Filters:
    """The filters of a layer; None is the first that has any.

    Raises:
        ConvscopeError: no such layer, or one without filters (with those that have some).
    """
    possible = filter_layers(model)
    if not possible:
        raise ConvscopeError(f"{type(model).__name__} has no layer with filters (units, channels, rows, columns)")
    call = find_call(model, layer or possible[0])
    groups = int(getattr(call.module, "groups", 1))
    with evaluation(model), torch.no_grad():
        if not _has_filters(call.module):
            raise ConvscopeError(_no_filters(call.path, call.module, possible))
        weight = _applied_weight(call.module).detach().cpu()
    weight = weight if weight.dtype == torch.float64 else weight.float()
    if isinstance(call.module, _TRANSPOSED):
        weight = units_first(weight, groups)
    return Filters(call.path, type(call.module).__name__, weight.clone(), groups)


def units_first(weight: Float[Tensor, "inputs units_a_group kh kw"], groups: int) -> Float[Tensor, "units c kh kw"]:
    """A transposed convolution's weight with a convolution's axes: the n units of group g are g n, ..., g n + n - 1."""
    inputs, units, kh, kw = weight.shape
    return weight.reshape(groups, inputs // groups, units, kh, kw).transpose(1, 2).reshape(-1, inputs // groups, kh, kw)


def _has_filters(module: nn.Module) -> bool:
    """Some quantised modules keep a method of that name; a lazy one has no shape before its first pass."""
    weight: Any = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and not is_lazy(weight) and weight.ndim == 4


def _applied_weight(module: nn.Module) -> Tensor:
    """``module.weight``; of the old norms, which set it just before each pass, as the next pass would have it."""
    for hook in module._forward_pre_hooks.values():  # pyright: ignore[reportPrivateUsage]
        compute: Any = getattr(hook, "compute_weight", None)
        if compute is not None and getattr(hook, "name", "weight") == "weight":
            takes_iteration = hasattr(hook, "n_power_iterations")
            return compute(module, do_power_iteration=False) if takes_iteration else compute(module)
    weight: Any = module.weight
    return weight


def _no_filters(path: str, module: nn.Module, possible: list[str]) -> str:
    inside = [name for name in possible if name.startswith(f"{path}.")]
    if inside:
        hint = f"; inside it {', '.join(map(repr, inside[:6]))}{', ...' if len(inside) > 6 else ''} have some"
    else:
        hint = nearest(path, possible) or f"; layers with filters are {', '.join(possible[:6])}"
        hint += f" ({len(possible)} layers have filters)" if len(possible) > 6 else ""
    weight: Any = getattr(module, "weight", None)
    what = f", its weight is {' x '.join(map(str, weight.shape))}" if isinstance(weight, Tensor) else ""
    return f"layer {path!r} ({type(module).__name__}) has no filters{what}{hint}"
