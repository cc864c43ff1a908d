"""Deconvnet: what in the picture drove a unit, projected back to pixels.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901, section 2.1.
Going down from a signal R at some layer, each layer of the network is undone:

    rectifier     R <- max(R, 0)                 the signal is rectified, the forward gate is not used
    max-pooling   R <- unpool(R, switches)       back to where the maxima of the forward pass were
    convolution   R <- F^T * R                   the transposed filters, no bias

The last two are what a backward pass computes, switches included, so the deconvnet is a backward pass with a
rule at the rectifiers (``network.graph.deconv``). Where pooling windows overlap (3x3 with stride 2) and share
a maximum, the adjoint adds what ``max_unpool2d`` would overwrite: the adjoint is used.

The seed: a class starts with 1 on its logit. A layer target starts with relu(A) where it is kept and 0
elsewhere: one unit's whole map (``layer:unit``), one position of it (``layer:unit@y,x``), the layer's whole map
(``layer``), or the strongest position of the layer's strongest unit (``target=None`` with ``layer=``).

Pitfall: a class seed dies on a network that ends in conv-ReLU-pool (SqueezeNet): the linear combination of one
class is often negative all over the last filters' transposes, and the map is exactly zero.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.attribution.gradients import Reduction, reduce_channels
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import backward_rule, deconv
from convscope.network.layers import copied, run_model
from convscope.network.passes import Inputs, forward, gradient_of, image_leaf, raw
from convscope.network.taps import tap
from convscope.network.targets import Target, Unit, aim, check_unit, parse_unit

Selection = Sequence[Unit | None] | None


def deconvnet(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: str | None = None,
    wrt: int | str = 0,
    partial: bool = False,
    reduce: Reduction | None = None,
) -> Float[Tensor, "b c H W"] | Float[Tensor, "b H W"]:
    """Project a class, a unit, a position or a layer's whole map back to pixels.

    Args:
        model: any module; given back as it was.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs of which ``wrt`` is explained.
        target: a class, ``layer:unit`` or ``layer:unit@y,x``, or one of them an image; with ``layer`` also an int
            (that unit of it), ``"map"`` (all of it), or None (the strongest position of the strongest unit, found
            for each image). None without ``layer`` is each image's top class.
        layer: start at this layer; any layer, the first too.
        wrt: which of several inputs is explained.
        partial: accept nonlinearities that are no rectifiers, and leave them plain.
        reduce: one map of the channels, see ``reduce_channels``; None keeps them.

    Raises:
        ConvscopeError: no such layer or unit, units of several layers, a graph that cannot be seen into, a
            callable target with a layer.
    """
    whole_map = isinstance(target, str) and target == "map" and layer is not None
    units = () if whole_map else aim(target).units
    start = layer or (units[0].layer if units else None)
    if start is None:
        return reduce_channels(_from_score(model, x, target, wrt, partial), reduce)
    with evaluation(model):
        image, inputs = image_leaf(x, wrt)
        with tap(model, start, stop=True) as seen:
            run_model(model, inputs)
        activation = seen[start]
        seed = kept(activation.detach().relu(), None if whole_map else _selection(target, start, len(activation)))
        with backward_rule(activation, deconv, to=image, partial=partial):
            (values,) = torch.autograd.grad(activation, image, seed)
        return reduce_channels(raw(values), reduce)


def strongest(activation: Tensor) -> list[tuple[int, int, int]]:
    """For each image of ``(b, c, h, w)`` the unit, y and x of the largest activation; of equals the first.

    Raises:
        ConvscopeError: an output of another shape, which has no positions.
    """
    if activation.ndim != 4:
        raise ConvscopeError(f"a layer of shape {tuple(activation.shape)} has no positions; name a unit of it")
    _, _, h, w = activation.shape
    return [(i // (h * w), i // w % h, i % w) for i in activation.flatten(1).argmax(1).tolist()]


def strongest_units(model: nn.Module, x: Inputs, layer: str) -> list[Unit]:
    """For each image, the strongest position of the strongest unit of ``layer``."""
    with evaluation(model), torch.no_grad():
        with tap(model, layer, stop=True) as seen:
            run_model(model, copied(x))
        return [Unit(layer, unit, (y, x)) for unit, y, x in strongest(seen[layer])]


def kept(activation: Tensor, selection: Selection) -> Tensor:
    """The activation where it is selected, 0 elsewhere.

    ``selection`` has for each image a Unit (its map, or one position of it), or None (the strongest position);
    None as a whole keeps everything.
    """
    if selection is None:
        return activation
    seed = torch.zeros_like(activation)
    for image, unit in enumerate(selection):
        if unit is None:
            where = (image, *strongest(activation[image : image + 1])[0])
        else:
            check_unit(unit, activation)
            where = (image, unit.unit, *(unit.position or ()))
        seed[where] = activation[where]
    return seed


def _selection(target: Target, layer: str, count: int) -> list[Unit | None]:
    """The unit of ``layer`` that each of ``count`` images starts with; None where it is to be found."""
    aimed = aim(target).target
    wanted: list[object] = aimed if isinstance(aimed, list) else [aimed] * count
    if len(wanted) != count:
        raise ConvscopeError(f"{len(wanted)} targets for {count} images: give one for all, or one an image")
    return [_unit_of(layer, one) for one in wanted]


def _unit_of(layer: str, target: object) -> Unit | None:
    unit = parse_unit(target) if isinstance(target, str) else None
    if unit is not None and unit.layer != layer:
        raise ConvscopeError(
            f"target {target!r} is a unit of {unit.layer!r}, but this pass starts at {layer!r}: one layer a call"
        )
    if unit is not None or target is None:
        return unit
    if isinstance(target, int) and target >= 0:
        return Unit(layer, target)
    raise ConvscopeError(
        f"target {target!r} does not select anything in layer {layer!r}; give a unit's number, 'layer:unit', "
        "'layer:unit@y,x', 'map', or None for the strongest position"
    )


def _from_score(model: nn.Module, x: Inputs, target: Target, wrt: int | str, partial: bool) -> Tensor:
    with evaluation(model):
        run = forward(model, x, target=target, wrt=wrt)
        with backward_rule(run.network_end, deconv, to=run.image, partial=partial):
            return raw(gradient_of(run.scores, [run.image], ["the input"])[0])
