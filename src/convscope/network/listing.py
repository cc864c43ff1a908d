"""The table of a network's layers: output shape, parameters, multiply-adds, receptive field.

Multiply-adds are counted by torch's own counter on the operations that really run, so that a functional
convolution is counted too: half of its floating-point operations. A composite's figures include its parts, and the
network's what no layer has: a convolution with the network's own weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.utils.flop_counter import FlopCounterMode

from convscope.network.layers import LayerOutput, named_layers, number_calls, trace_layers
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from convscope.network.receptive_fields import ReceptiveField, receptive_fields


@dataclass(frozen=True, eq=False)
class LayerFacts:
    """One call of one layer. ``shape`` is that of one image's output; ``field_size`` None is the whole input."""

    name: str
    module: nn.Module
    type: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    field_size: tuple[int, int] | None
    field_stride: tuple[int | float, int | float] | None

    def as_json(self) -> dict[str, Any]:
        """The fields that ``convscope layers --json`` prints."""
        field = None
        if self.field_size is not None:
            field = {"size": list(self.field_size), "stride": list(self.field_stride or ())}
        return {
            "name": self.name,
            "type": self.type,
            "shape": list(self.shape),
            "parameters": self.parameters,
            "macs": self.macs,
            "receptive_field": field,
        }


@dataclass(frozen=True, eq=False)
class Listing:
    """Calls of layers, in the order in which they ended, and what they cost together."""

    layers: Sequence[LayerFacts]
    parameters: int
    macs: int

    def inside(self, path: str) -> "Listing":
        """The calls of one layer and of those below it, with that layer's own totals."""
        below = [f for f in self.layers if f.name == path or f.name.startswith((f"{path}.", f"{path}#"))]
        own = [f for f in below if f.name.split("#")[0] == path]
        outermost = own or [f for f in below if "." not in f.name.removeprefix(f"{path}.")]
        modules = {f.module: f.parameters for f in outermost}
        return Listing(below, sum(modules.values()), sum(f.macs for f in outermost))


def example_input(net: Network, side: int = 224) -> Tensor:
    """``(1, c, h, w)`` of zeros, the mean colour, at the size that the network is used at."""
    parameter = next((p for p in net.module.parameters() if p.is_floating_point()), torch.zeros(()))
    if not isinstance(net.preprocess, Preprocess):
        first = next((m for m in net.module.modules() if isinstance(m, nn.Conv2d)), None)
        return torch.zeros(1, first.in_channels if first else 3, side, side).to(parameter)
    crop = net.preprocess.crop or net.preprocess.size or side
    height, width = (crop, crop) if isinstance(crop, int) else crop
    return torch.zeros(1, net.preprocess.channels, height, width).to(parameter)


def describe_layers(model: nn.Module, x: Tensor) -> Listing:
    """Every layer that ran on ``x (1, c, h, w)`` with a tensor as output, in the order in which the calls ended."""
    image = x.detach().clone().requires_grad_()
    found: list[LayerOutput] = []
    spent: list[int] = []
    edges: list[GradientEdge | None] = []
    with _Meter(model) as meter:

        def visit(item: LayerOutput) -> None:
            found.append(item)
            spent.append(meter.spent_by(item.module))
            # now: `h += shortcut` after this layer would make its output that of the sum
            is_map = item.output.ndim == 4 and item.output.requires_grad
            edges.append(get_gradient_edge(item.output) if is_map else None)

        trace_layers(model, image, visit, graph=True)
    numbered = number_calls(found)
    fields = receptive_fields({i.name: e for i, e in zip(numbered, edges, strict=True) if e is not None}, image)
    layers = [_facts(item, macs, fields.get(item.name)) for item, macs in zip(numbered, spent, strict=True)]
    return Listing(layers, sum(p.numel() for p in model.parameters()), meter.total)


def _facts(item: LayerOutput, macs: int, field: ReceptiveField | None) -> LayerFacts:
    return LayerFacts(
        item.name,
        item.module,
        type(item.module).__name__,
        tuple(item.output.shape[1:]),
        sum(p.numel() for p in item.module.parameters()),
        macs,
        field.size if field is not None else None,
        field.stride if field is not None else None,
    )


class _Meter:
    """Multiply-adds of a pass, and between the start and the end of each module's call."""

    def __init__(self, model: nn.Module) -> None:
        self.counter = FlopCounterMode(display=False)
        self.modules = list(dict.fromkeys(named_layers(model).values()))
        self.began: dict[nn.Module, list[int]] = {}
        self.hooks: list[Any] = []

    def __enter__(self) -> "_Meter":
        self.hooks = [m.register_forward_pre_hook(self._begin) for m in self.modules]
        self.counter.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.counter.__exit__(*error)
        for hook in self.hooks:
            hook.remove()

    def _begin(self, module: nn.Module, _args: object) -> None:
        self.began.setdefault(module, []).append(self.counter.get_total_flops())

    @property
    def total(self) -> int:
        """Of the whole pass; a multiply-add is two floating-point operations."""
        return self.counter.get_total_flops() // 2

    def spent_by(self, module: nn.Module) -> int:
        """Since the last start of ``module``."""
        return (self.counter.get_total_flops() - self.began[module].pop()) // 2
