"""Unit ablation: switch units of a layer off, and look what the network answers without them.

Morcos et al. 2018, "On the importance of single directions for generalization", arXiv:1803.06959; Bau et al. 2020,
"Understanding the role of individual units in a deep neural network", arXiv:2009.05041. With A the layer's output,
its units k in a set K replaced on their way to the rest of the network, f the network above the layer:

    A'_k = v_k  for k in K,  A_k  for all others;      logits' = f(A')

    v_k = 0                                            zero: "off"
    v_k = mean of A_k over images and positions        mean: "says nothing", over given data (``unit_means``)
    v_k = A_k of another image, position by position   resample: "speaks of something else" (``unit_activations``)

Where a mean over the map and a linear layer follow (the last map of ResNet), a class's logit drops by w_k mean(A_k)
exactly. All units off leave the bias path: what the network answers to a zero map there.

Pitfalls: a convolution whose batch norm follows is not switched off by zero: the network goes on with the batch norm
of zero, ``bias - mean * scale`` (``normalised_after`` tells so; ablate the batch norm's output instead). Zero is far
from what many units ever say, and the network's answer to it may be to that strangeness; mean and resample are the
milder questions. Units share work: two that back each other up show nothing one at a time.
"""

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from convscope.attribution.layer_maps import image_size
from convscope.attribution.unit_values import layer_outputs, layers_of, named_units, unit_axis, unit_part
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.head import class_maps, linear_head
from convscope.network.layers import copied, run_model
from convscope.network.passes import Inputs, raw
from convscope.network.questions import check_batch, questions
from convscope.network.taps import Edit, tap
from convscope.network.targets import Unit, class_logits

Values = Mapping[Unit, Tensor | float]
_EXACT = {torch.float64: 1e-9, torch.float32: 1e-4}  # in other precisions a head is not told from its like


def replaced(activation: Tensor, values: Values, axis: int = 1) -> Tensor:
    """A layer's output with the units in ``values`` at those values, all else as it is.

    Args:
        activation: ``(b, c)``, ``(b, c, h, w)``, or tokens; units along ``axis``.
        values: for each unit a number, or ``(1 or b, ...)`` with the positions of its map.
        axis: that of the units.

    Raises:
        ConvscopeError: a unit or position that the layer has not, or values of another size.
    """
    edited = activation.clone()
    for unit, value in values.items():
        place, value = unit_part(edited, unit, axis), torch.as_tensor(value)
        if value.ndim and (value.shape[1:] != place.shape[1:] or len(value) not in (1, len(place))):
            raise ConvscopeError(
                f"unit {unit} has activations of shape {tuple(place.shape)}, and cannot be given {tuple(value.shape)}: "
                "what it is replaced by must come from an input of the same size"
            )
        place.copy_(value)
    return edited


def ablated(
    model: nn.Module, x: Inputs, units: Sequence[str | Unit], *, values: Values | None = None, wrt: int | str = 0
) -> Any:
    """What the network returns with units replaced, of several layers in one pass where wanted.

    Args:
        model: any module; given back as it was.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs.
        units: ``layer:unit``, or ``layer:unit@y,x`` for one position of its map only.
        values: what each is replaced by, see ``replaced``; None is zero for all.
        wrt: which of several inputs is the image.

    Raises:
        ConvscopeError: no such layer, unit or position, or values of another size.
    """
    wanted, size = named_units(units), image_size(x, wrt)
    values = dict.fromkeys(wanted, torch.zeros(())) if values is None else values
    if missing := [str(unit) for unit in wanted if unit not in values]:
        raise ConvscopeError(f"no value for {', '.join(missing)}: give one for each unit, or None for zero")
    edits = {layer: _edit(layer, [u for u in wanted if u.layer == layer], values, size) for layer in layers_of(wanted)}
    with evaluation(model), torch.no_grad(), tap(model, edit=edits):
        return run_model(model, copied(x))


def _edit(layer: str, units: Sequence[Unit], values: Values, size: tuple[int, int]) -> Edit:
    own = {unit: values[unit] for unit in units}
    return lambda activation: replaced(activation, own, unit_axis(activation, size, layer))


def effect_of_each(
    model: nn.Module,
    x: Inputs,
    layer: str,
    *,
    units: Sequence[int] | None = None,
    batch: int = 32,
    on_step: Callable[[int, int], None] | None = None,
    wrt: int | str = 0,
) -> Float[Tensor, "b units classes"]:
    """For each image and each single unit of ``layer`` the logits with that unit at zero, all others as they are.

    ``logits[:, None] - effect_of_each(...)`` is what each class owes to each unit; its largest entries along the last
    axis are the classes that a unit speaks for. Right below a head that takes the mean of a linear function (see
    ``network.head``) this is read off the weights, in a few passes; else an ablated image a unit goes through.

    Args:
        model: any module with ``(b, classes)`` logits; given back as it was.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs.
        layer: any layer with maps (b, c, h, w), tokens, or single units (b, c).
        units: their numbers in the order of the result; None is all of them.
        batch: ablated images in one pass; memory grows with it and not with the number of units.
        on_step: called with (done, all) single units over all images, where they go through one by one.
        wrt: which of several inputs is the image.

    Raises:
        ConvscopeError: no such layer, a unit out of range, an output that is no logits.
    """
    check_batch(batch)
    size = image_size(x, wrt)
    asked = questions(model, x, target=class_logits, wrt=wrt)
    with evaluation(model), torch.no_grad():
        first = layer_outputs(model, asked[0].inputs, [layer])[layer]
        numbers = _numbers(units, first.shape[unit_axis(first, size, layer, batch=1)], layer)
        if (known := _read_off_the_head(model, x, layer, numbers, batch)) is not None:
            return known
        found: list[Tensor] = []
        for ask, part in itertools.product(asked, numbers.split(batch)):
            with tap(model, edit={layer: _one_off_in_each(part, size, layer)}):
                inputs = copied(ask.about(ask.image.expand(len(part), -1, -1, -1)))
                found.append(raw(class_logits(run_model(model, inputs))))
            if on_step is not None:
                on_step(sum(map(len, found)), len(asked) * len(numbers))
        return torch.cat(found).reshape(len(asked), len(numbers), -1)


def _read_off_the_head(model: nn.Module, x: Inputs, layer: str, numbers: Tensor, batch: int) -> Tensor | None:
    """``(b, units, classes)``: the mean over the map of sum_j w_j A_j + bias without the unit's own w_k A_k.

    None where the head is another one: proved by the logits of this very input, and by those without any unit.
    """
    try:
        head, activation, logits = linear_head(model, x, layer)
    except ConvscopeError:
        return None
    seen, weights, bias = (raw(values) for values in (activation, head.weights, head.bias))
    nothing = ablated(model, x, [Unit(layer, unit) for unit in range(seen.shape[1])])
    expected = (bias.relu() if head.rectified else bias).expand_as(logits)
    if logits.dtype not in _EXACT or not torch.allclose(
        raw(class_logits(nothing)), expected, atol=_EXACT[logits.dtype]
    ):
        return None
    seen = seen.relu() if head.rectified_input else seen
    if not head.rectified:
        return logits[:, None] - seen.mean((2, 3))[:, numbers, None] * weights.T[numbers]
    maps = class_maps(seen, weights, bias)
    without = [
        (maps[i] - weights.T[part, :, None, None] * seen[i, part, None]).relu().mean((2, 3))
        for i, part in itertools.product(range(len(seen)), numbers.split(batch))
    ]
    return torch.cat(without).reshape(len(seen), len(numbers), -1)


def _one_off_in_each(numbers: Tensor, size: tuple[int, int], layer: str) -> Edit:
    """Unit ``numbers[i]`` of row i at zero."""

    def edit(activation: Tensor) -> Tensor:
        by_unit = activation.movedim(unit_axis(activation, size, layer), 1)  # a view of it
        by_unit[torch.arange(len(numbers)), numbers] = 0.0
        return activation

    return edit


def _numbers(units: Sequence[int] | None, count: int, layer: str) -> Int[Tensor, " units"]:
    try:
        wanted = list(range(count)) if units is None else [_whole(unit) for unit in units]
    except TypeError:
        raise ConvscopeError(
            f"units={units!r} of layer {layer!r}: give a list of their numbers, 0 to {count - 1}, or None for all"
        ) from None
    for unit in wanted:
        if not 0 <= unit < count:
            raise ConvscopeError(f"unit {unit} was asked for, but layer {layer!r} has {count} units")
    if not wanted:
        raise ConvscopeError(f"units=[] asks for no unit of layer {layer!r}; give at least one, or None for all")
    return torch.tensor(wanted)


def _whole(unit: SupportsIndex) -> int:
    if isinstance(unit, bool):
        raise TypeError
    return operator.index(unit)
