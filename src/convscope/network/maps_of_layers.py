"""The maps that one photo leaves in a network: all of one layer, or one map of every layer, in a single pass.

Of every layer only the one map that is drawn is kept, so that the memory is that of a plain pass. A layer here is a
module without parts, or one whose own code makes its output (a residual block that adds and rectifies): a container
that hands on what its last part gave would be the same map twice. Functions that ``forward`` calls (``F.relu``, ``+``)
are no modules; what they make is seen only as the output of the module around them.

Left out, with the reason: outputs that are no maps, single cells, and the pooling of the head, which only resizes.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.layers import LayerOutput, copied, numbered, run_model, trace_layers
from convscope.network.passes import raw
from convscope.network.taps import tap
from convscope.network.token_grids import as_maps

Reading = Literal["mean", "strongest"] | int  # of a layer's maps: their mean, that of the largest value, or a unit's
_HEAD_POOLING = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


@dataclass(frozen=True, eq=False)
class LayerMap:
    """One map of one layer. ``shape`` (c, h, w) is that of all; ``unit`` None for their mean."""

    layer: str
    type: str
    shape: tuple[int, int, int]
    unit: int | None
    values: Float[Tensor, "h w"]


def maps_of_layer(model: nn.Module, x: Tensor, layer: str) -> Float[Tensor, "c h w"]:
    """All maps of ``layer`` on one image ``x (1, c, H, W)``, raw, on the CPU.

    Raises:
        ConvscopeError: no such layer, one that ran twice (name a call: ``relu#2``), one whose output holds no maps.
    """
    with evaluation(model), torch.no_grad(), tap(model, layer) as seen:
        run_model(model, copied(x))
        return _as_one_image(seen[layer], x, layer).cpu()


def map_of_every_layer(model: nn.Module, x: Tensor, reading: Reading = "mean") -> tuple[list[LayerMap], dict[str, str]]:
    """One map of every layer on one image, in the order in which the layers ran; and layer -> why it is left out."""
    found: list[LayerMap] = []
    left_out: dict[str, str] = {}
    names: list[str] = []
    last: list[tuple[Tensor, int]] = []

    def visit(item: LayerOutput) -> None:
        handed_on = bool(last) and last[0][0] is item.output and last[0][1] == item.output._version
        last[:] = [(item.output, item.output._version)]
        is_weight = ".parametrizations." in f".{item.name}."
        if is_weight or (handed_on and any(True for _ in item.module.children())):
            return
        names.append(item.name)
        try:
            found.append(_read(item, x, reading))  # now: a later in-place layer may write into the output
        except ConvscopeError as why:
            left_out[item.name] = str(why).removeprefix(f"layer {item.name!r} ")

    trace_layers(model, x, visit)
    final = dict(zip(names, numbered(names), strict=True))
    return [replace(one, layer=final[one.layer]) for one in found], {final[n]: why for n, why in left_out.items()}


def _read(item: LayerOutput, x: Tensor, reading: Reading) -> LayerMap:
    if isinstance(item.module, _HEAD_POOLING):
        raise ConvscopeError("pools to a fixed size")
    maps = _as_one_image(item.output, x, item.name)
    if maps.shape[1] * maps.shape[2] == 1:
        raise ConvscopeError(f"gives {len(maps)} single cells, not maps")
    unit, values = read_maps(maps, reading)
    shape = (maps.shape[0], maps.shape[1], maps.shape[2])
    return LayerMap(item.name, type(item.module).__name__, shape, unit, values.cpu())


def read_maps(maps: Float[Tensor, "c h w"], reading: Reading) -> tuple[int | None, Float[Tensor, "h w"]]:
    """The unit (None for the mean) and the one map that ``reading`` asks for.

    Raises:
        ConvscopeError: a unit that the layer has not.
    """
    if reading == "mean":
        return None, maps.mean(0)
    unit = strongest_first(maps)[0] if reading == "strongest" else int(reading)
    if not 0 <= unit < len(maps):
        raise ConvscopeError(f"has {len(maps)} units, so none numbered {unit}")
    return unit, maps[unit].clone()  # clone: not all maps are to be held


def strongest_first(maps: Float[Tensor, "c h w"], by: str = "max") -> list[int]:
    """The units by their largest (``"max"``) or mean (``"mean"``) value, of equals the first."""
    values = maps.flatten(1)
    measure = values.mean(1) if by == "mean" else values.amax(1)
    return measure.argsort(descending=True, stable=True).tolist()


def _as_one_image(output: Tensor, x: Tensor, layer: str) -> Float[Tensor, "c h w"]:
    maps = raw(as_maps(output, (x.shape[-2], x.shape[-1]), layer))
    if len(maps) != 1:
        raise ConvscopeError(f"layer {layer!r} gives {len(maps)} outputs for one image, not one map a unit")
    return maps[0]
