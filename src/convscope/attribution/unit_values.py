"""What the units of a layer say of an image: their activations, and their mean over many images.

A unit is one channel of a layer's output A, ``(b, c, h, w)``; one number of a fully connected layer's ``(b, c)``; one
channel of tokens. The mean of unit k is over images and positions, one number a unit:

    mean_k = sum_images sum_yx A_kyx / (images h w)
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.attribution.layer_maps import image_size
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.layers import copied, run_model
from convscope.network.passes import Inputs, raw
from convscope.network.taps import tap
from convscope.network.targets import Unit, check_unit, parse_unit
from convscope.network.token_grids import channel_axis


def named_units(units: Sequence[str | Unit]) -> tuple[Unit, ...]:
    """``["layer4.1.conv2:447", ...]`` -> Units, each once, in order.

    Raises:
        ConvscopeError: none at all, or text that names no unit.
    """
    found: dict[Unit, None] = {}
    for one in units:
        unit = parse_unit(one) if isinstance(one, str) else one
        if not isinstance(unit, Unit):
            raise ConvscopeError(f"{one!r} names no unit; give LAYER:NUMBER, or LAYER:NUMBER@Y,X for one neuron")
        found[unit] = None
    if not found:
        raise ConvscopeError("no unit to ablate; name at least one, such as 'layer4.1.conv2:447'")
    return tuple(found)


def layers_of(units: Sequence[Unit]) -> tuple[str, ...]:
    """The layers of these units, each once."""
    return tuple(dict.fromkeys(unit.layer for unit in units))


def unit_axis(activation: Tensor, size: tuple[int, int], layer: str, *, batch: int | None = None) -> int:
    """The axis of a layer's output that holds its units: 1 of ``(b, c)``, else that of its channels.

    ``batch`` is the number of images, where an output of another number is to be refused.
    """
    if batch is not None and len(activation) != batch:
        raise ConvscopeError(
            f"layer {layer!r} gives {tuple(activation.shape)} for {batch} image(s): its first axis is not one of "
            "images; name the layer around it"
        )
    return 1 if activation.ndim == 2 else channel_axis(activation, size, layer)


def unit_part(activation: Tensor, unit: Unit, axis: int) -> Tensor:
    """The unit's part of the layer's output, a view: ``(b, h, w)``, ``(b, tokens)`` or ``(b,)``."""
    if activation.ndim in (2, 4) and axis == 1:
        check_unit(unit, activation)
    elif not 0 <= unit.unit < activation.shape[axis]:
        raise ConvscopeError(
            f"unit {unit.unit} was asked for, but layer {unit.layer!r} has {activation.shape[axis]} units"
        )
    elif unit.position is not None:
        raise ConvscopeError(f"{unit}: layer {unit.layer!r} keeps its positions as tokens; name the whole unit")
    place = activation.select(axis, unit.unit)
    return place if unit.position is None else place[:, unit.position[0], unit.position[1]]


def layer_outputs(model: nn.Module, x: Inputs, layers: Sequence[str]) -> dict[str, Tensor]:
    """The raw outputs of some layers.

    The whole pass, though its end is not needed: a layer that runs again must be refused, not taken at its first.
    """
    with evaluation(model), torch.no_grad():
        with tap(model, *layers) as seen:
            run_model(model, copied(x))
        return {layer: raw(seen[layer]) for layer in layers}


def unit_activations(
    model: nn.Module, x: Inputs, units: Sequence[str | Unit], *, wrt: int | str = 0
) -> dict[Unit, Tensor]:
    """For each unit ``(b, h, w)``, ``(b, tokens)`` or ``(b,)``: given to ``ablated`` as values, a resample ablation."""
    wanted, size = named_units(units), image_size(x, wrt)
    with evaluation(model):  # so that the copies are no inference tensors either
        outputs = layer_outputs(model, x, layers_of(wanted))
        return {u: unit_part(outputs[u.layer], u, unit_axis(outputs[u.layer], size, u.layer)).clone() for u in wanted}


class UnitMeans:
    """The mean of every unit of some layers, image after image: ``update`` with batches, then ``compute``."""

    def __init__(self, model: nn.Module, layers: Sequence[str], *, wrt: int | str = 0) -> None:
        self.model, self.layers, self.wrt = model, tuple(layers), wrt
        self.sums: dict[str, Tensor] = {}
        self.counts = dict.fromkeys(layers, 0)

    def update(self, x: Inputs) -> None:
        """Run a batch through the network, and add what the layers' units say."""
        size = image_size(x, self.wrt)
        for layer, output in layer_outputs(self.model, x, self.layers).items():
            by_unit = output.movedim(unit_axis(output, size, layer), 0).flatten(1)
            total = by_unit.sum(1).cpu().double()  # of one batch in its own precision, of all in float64
            self.sums[layer] = self.sums[layer] + total if layer in self.sums else total
            self.counts[layer] += by_unit.shape[1]

    def compute(self) -> dict[str, Float[Tensor, " units"]]:
        """Layer -> one number a unit, float64. Raises :class:`ConvscopeError` before the first batch."""
        if any(layer not in self.sums for layer in self.layers):
            raise ConvscopeError("the mean over no image is not known; give at least one")
        return {layer: self.sums[layer] / self.counts[layer] for layer in self.layers}


class UnitMaxima:
    """The largest value of every unit of some layers, over images and positions: ``update``, then ``compute``."""

    def __init__(self, model: nn.Module, layers: Sequence[str], *, wrt: int | str = 0) -> None:
        self.model, self.layers, self.wrt = model, tuple(layers), wrt
        self.largest: dict[str, Tensor] = {}

    def update(self, x: Inputs) -> None:
        """Run a batch through the network, and look for larger values; NaN is none."""
        size = image_size(x, self.wrt)
        for layer, output in layer_outputs(self.model, x, self.layers).items():
            by_unit = output.movedim(unit_axis(output, size, layer), 0).flatten(1)
            here = by_unit.masked_fill(by_unit.isnan(), -torch.inf).amax(1).float().cpu()
            self.largest[layer] = self.largest[layer].maximum(here) if layer in self.largest else here

    def compute(self) -> dict[str, Float[Tensor, " units"]]:
        """Layer -> one number a unit, float32. Raises :class:`ConvscopeError` before the first batch."""
        if any(layer not in self.largest for layer in self.layers):
            raise ConvscopeError("the strongest activation over no image is not known; give at least one")
        return {layer: self.largest[layer] for layer in self.layers}


def unit_means(
    model: nn.Module, batches: Iterable[Inputs], layers: Sequence[str], *, wrt: int | str = 0
) -> dict[str, Float[Tensor, " units"]]:
    """Layer -> the mean of each of its units over images and positions: one number a unit, float64.

    The batches go through one after the other and nothing of them is kept but sums.

    Raises:
        ConvscopeError: no batch at all, no such layer.
    """
    means = UnitMeans(model, layers, wrt=wrt)
    for x in batches:
        means.update(x)
    return means.compute()
