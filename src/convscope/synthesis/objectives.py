"""What a picture is made for: a number for each image of a batch, read off the layers that it needs.

Olah, Mordvintsev & Schubert 2017, "Feature Visualization", doi:10.23915/distill.00007, section "Optimization
Objectives". With A a layer's output ``(b, c, h, w)`` and z the network's logits:

    unit k          mean_yx A_kyx                       ``unit``, ``units``
    neuron k, y, x  A_kyx                               ``neuron``
    layer           mean_cyx A^p, p 1 or 2              ``layer``
    class c         z_c, softmax(z)_c                   ``logit``, ``probability``
    direction v     mean_yx v . A_yx                    ``direction``
    match to F      -|A - F|^2 / |F|^2                  ``match``
    diversity       -mean_j cos(G_i, G_j), G = A A^T    ``diversity``, j the other images of the batch

p = 2 is DeepDream's; ``match`` is feature inversion's (Mahendran & Vedaldi 2015, arXiv:1412.0035). Objectives are
values: ``0.2 * unit("mixed4a:20") + 0.8 * unit("mixed4a:21")`` scores 0.2 times the one plus 0.8 times the other, and
its ``label`` says so: "0.2 · mixed4a:20 + 0.8 · mixed4a:21". ``each([...])`` gives every image of a batch its own.

Pitfalls: after its rectifier a unit that is shut has no gradient (``ascent.ascend`` lets it through at the start);
before it, the mean of its map is pushed down at the border, where padding is an edge. A probability saturates, and is
raised as well by lowering other classes; a logit is not. With ``diversity`` the images of a batch depend on each other,
and two equal ones stay equal. A layer that runs twice in a pass is taken at its first call unless named ``relu#2``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.memory_layout import run_on_copy
from convscope.network.passes import Inputs
from convscope.network.taps import tap
from convscope.network.targets import Unit, aim, check_unit, parse_unit, scores, unit_scores
from convscope.synthesis.algebra import Objective, each

__all__ = [
    "Objective",
    "direction",
    "diversity",
    "each",
    "evaluate",
    "layer",
    "logit",
    "match",
    "neuron",
    "probability",
    "unit",
    "units",
]


def evaluate(model: nn.Module, objective: Objective, x: Inputs) -> Float[Tensor, " b"]:
    """The objective of each image: one pass, which ends at the last layer that is needed.

    Args:
        model: any module; evaluated in evaluation mode and given back as it was. Parameters get no gradient from
            ``torch.autograd.grad(scores.sum(), ...)`` with respect to the image or what draws it.
        objective: what is scored.
        x: the network's input in its graph, whose leaves are the caller's; a tensor, a tuple or a dict.

    Raises:
        ConvscopeError: unknown layers, units and classes; scores that are not one an image.
    """
    with evaluation(model):
        output = None
        with tap(model, *objective.layers, stop=not objective.needs_output) as activations:
            output = run_on_copy(model, x)
        values = objective.score({name: _wide(seen) for name, seen in activations.items()}, output)
    if values.ndim != 1:
        raise ConvscopeError(f"the objective gives {tuple(values.shape)}; it must give (b,), one score an image")
    return values


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))  # half precision overflows in sums over a layer


def unit(name: str) -> Objective:
    """The mean of a unit's map, or a fully connected layer's unit: ``"layer4.1.conv2:447"``, for every image.

    Raises:
        ConvscopeError: text that names no unit, or one position of it.
    """
    return _of_units([_whole(name)])


def neuron(name: str) -> Objective:
    """One position of a unit's map, ``"layer4.1.conv2:447@3,4"`` at row 3, column 4.

    Raises:
        ConvscopeError: text that names no unit, or no position.
    """
    wanted = _named(name)
    if wanted.position is None:
        raise ConvscopeError(f"{name!r} names a whole unit, not one neuron; give '{name}@Y,X'")
    return _of_units([wanted])


def units(names: Sequence[str]) -> Objective:
    """A unit or neuron for each image of the batch, in its order.

    Raises:
        ConvscopeError: none at all, text that names no unit; when scored, a count other than that of the images.
    """
    if isinstance(names, str) or not names:
        raise ConvscopeError(f"units of {names!r}: give a list with one unit an image; unit(...) is one for all")
    return _of_units([_named(name) for name in names], apart=True)


def _named(name: str) -> Unit:
    found = parse_unit(name)
    if found is None:
        raise ConvscopeError(f"{name!r} names no unit; give LAYER:NUMBER, or LAYER:NUMBER@Y,X for one neuron")
    return found


def _whole(name: str) -> Unit:
    found = _named(name)
    if found.position is not None:
        raise ConvscopeError(f"{name!r} names one neuron, not a unit; neuron({name!r}) is its objective")
    return found


def _of_units(wanted: Sequence[Unit], *, apart: bool = False) -> Objective:
    layers = tuple(dict.fromkeys(one.layer for one in wanted))
    label = ", ".join(map(str, wanted))
    if apart:
        return Objective(layers, False, lambda activations, _: _one_an_image(wanted, activations), label)
    return Objective(layers, False, lambda activations, _: unit_scores(wanted[0], activations[wanted[0].layer]), label)


def _one_an_image(wanted: Sequence[Unit], activations: Mapping[str, Tensor]) -> Tensor:
    """``(b,)``; one indexing a layer, since each costs a backward pass over the whole layer's output."""
    parts: list[Tensor] = []
    order: list[int] = []
    for name in dict.fromkeys(one.layer for one in wanted):
        output = activations[name]
        if len(output) != len(wanted):
            raise ConvscopeError(f"{len(wanted)} units for {len(output)} images: give one an image, or one for all")
        rows = [i for i, one in enumerate(wanted) if one.layer == name]
        for i in rows:
            check_unit(wanted[i], output)
        maps = output[rows, [wanted[i].unit for i in rows]]
        parts += [_value(part, wanted[i]) for part, i in zip(maps.unbind(), rows, strict=True)]
        order += rows
    return torch.stack([part for _, part in sorted(zip(order, parts, strict=True), key=lambda pair: pair[0])])


def _value(part: Tensor, wanted: Unit) -> Tensor:
    return part.mean() if wanted.position is None else part[wanted.position]


def layer(name: str, power: int = 1) -> Objective:
    """The mean of everything that a layer says, or of its squares (``power=2``, DeepDream)."""
    if power not in (1, 2):
        raise ConvscopeError(f"power {power!r} is neither 1, the mean, nor 2, the mean square")
    label = name if power == 1 else f"{name} squared"
    return Objective((name,), False, lambda activations, _: activations[name].pow(power).flatten(1).mean(1), label)


def logit(classes: int | Sequence[int]) -> Objective:
    """A class's logit, by its number; a list gives one an image."""
    return _of_class(classes, "logit")


def probability(classes: int | Sequence[int]) -> Objective:
    """A class's probability, by its number; a list gives one an image."""
    return _of_class(classes, "probability")


def _of_class(classes: int | Sequence[int], score: str) -> Objective:
    aimed = aim(classes)
    listed: list[Any] = aimed.target if isinstance(aimed.target, list) else [aimed.target]
    if not listed or not all(isinstance(one, int) for one in listed):
        raise ConvscopeError(f"{classes!r} is no class number, nor a list of them; see network.targets for names")
    label = ", ".join(f"class {one}" if score == "logit" else f"probability of class {one}" for one in listed)
    return Objective((), True, lambda _, output: scores(aimed, output, {}, score=score), label)


def direction(name: str, vector: Float[Tensor, " c"]) -> Objective:
    """The mean over positions of v . A_yx: a mixture of a layer's units, by weights of any sign.

    Raises:
        ConvscopeError: when scored, a vector that has not one number a unit.
    """

    def score(activations: Mapping[str, Tensor], _: Any) -> Tensor:
        output = _maps(activations[name], name)
        if len(vector) != output.shape[1]:
            raise ConvscopeError(
                f"a direction of {len(vector)} numbers, but layer {name!r} has {output.shape[1]} units"
            )
        return torch.einsum("bcp,c->bp", output.flatten(2), vector.detach().to(output)).mean(1)

    return Objective((name,), False, score, f"a direction in {name}")


def match(name: str, features: Tensor) -> Objective:
    """Minus the relative squared error to given features of a layer: 0 where they are met, -1 for none at all.

    Args:
        name: the layer.
        features: its output for another image, ``(1, ...)`` for all images, or one an image.

    Raises:
        ConvscopeError: features that are all zero; when scored, another shape than the layer's output.
    """
    wanted = features.detach().clone()
    sizes = wanted.double().square().flatten(1).sum(1)
    if not (torch.isfinite(sizes) & (sizes > 0)).all():
        raise ConvscopeError(f"the features of layer {name!r} are all zero or not finite: no error is relative to them")

    def score(activations: Mapping[str, Tensor], _: Any) -> Tensor:
        output = activations[name]
        if wanted.shape[1:] != output.shape[1:] or len(wanted) not in (1, len(output)):
            raise ConvscopeError(f"features {tuple(wanted.shape)}, but layer {name!r} gives {tuple(output.shape)}")
        return -(output - wanted.to(output)).square().flatten(1).sum(1) / sizes.to(output)

    return Objective((name,), False, score, f"match at {name}")


def diversity(name: str) -> Objective:
    """Minus an image's mean likeness to the others of its batch: the cosine of Gram matrices of a layer.

    Raises:
        ConvscopeError: when scored, a batch of one.
    """

    def score(activations: Mapping[str, Tensor], _: Any) -> Tensor:
        maps = _maps(activations[name], name).flatten(2)
        b = len(maps)
        if b < 2:
            raise ConvscopeError("diversity compares the images of a batch, and this one has one image only")
        grams = F.normalize((maps @ maps.mT).flatten(1), dim=1)
        likeness = grams @ grams.mT
        return -(likeness.sum(1) - likeness.diagonal()) / (b - 1)

    return Objective((name,), False, score, f"diversity at {name}")


def _maps(output: Tensor, name: str) -> Tensor:
    """A layer's output with positions: ``(b, c)`` of a fully connected layer has one."""
    if output.ndim not in (2, 4):
        raise ConvscopeError(f"layer {name!r} gives {tuple(output.shape)}: neither maps nor single units")
    return output if output.ndim == 4 else output[:, :, None, None]
