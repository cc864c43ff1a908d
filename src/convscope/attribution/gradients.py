"""Gradients of the score with respect to the pixels, plain and guided.

    gradient          dS/dx                                             Simonyan et al. 2013, arXiv:1312.6034
    saliency          max_c |dS/dx|                                     the same, section 3.1
    input x gradient  x * dS/dx                                         Shrikumar et al. 2016, arXiv:1605.01713
    guided backprop   R_in = R_out * 1[x > 0] * 1[R_out > 0]            Springenberg et al. 2014, arXiv:1412.6806
    guided saliency   max_c |guided backprop|

S is the explained score: a logit unless ``score="probability"`` (a softmax saturates, and its gradient with it).

Pitfalls: the saliency takes the maximum of the absolute values, not of the signed ones. Guided backprop must
reach every rectifier, called as a module or as a function; it does so here on the recorded graph
(``network.graph``). It says what a network could see in the picture rather than what the class depends on: its
maps hardly change with the class (Adebayo et al. 2018).
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import backward_rule, guided
from convscope.network.passes import Inputs, forward, gradient_of, raw
from convscope.network.targets import Target

Reduction = Literal["max-abs", "sum", "positive", "negative"]


def reduce_channels(
    values: Float[Tensor, "b c h w"], how: Reduction | None
) -> Float[Tensor, "b h w"] | Float[Tensor, "b c h w"]:
    """One map of a gradient with channels: largest magnitude, signed sum, or the sum of one sign's part.

    ``"negative"`` is returned as positive magnitudes; None leaves the channels as they are.

    Raises:
        ConvscopeError: no such reduction.
    """
    match how:
        case None:
            return values
        case "max-abs":
            return values.abs().amax(1)
        case "sum":
            return values.sum(1)
        case "positive":
            return values.clamp(min=0).sum(1)
        case "negative":
            return -values.clamp(max=0).sum(1)
        case _:
            raise ConvscopeError(f"reduce={how!r} is none of 'max-abs', 'sum', 'positive', 'negative'")


def gradient(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    score: str = "logit",
    wrt: int | str = 0,
    reduce: Reduction | None = None,
) -> Float[Tensor, "b c H W"] | Float[Tensor, "b H W"]:
    """dS/dx, raw and signed, at the input's resolution.

    Args:
        model: any module; evaluated in evaluation mode and given back as it was.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs of which ``wrt`` is explained.
        target: None (each image's top class), a class number, one an image, a unit's name, or a callable
            output -> ``(b,)``.
        score: ``"logit"`` or ``"probability"``, of class targets.
        wrt: which of several inputs is explained.
        reduce: one map of the channels, see ``reduce_channels``; None keeps them.

    Raises:
        ConvscopeError: a target out of range, or a score without a path to the input.
    """
    with evaluation(model):
        run = forward(model, x, target=target, score=score, wrt=wrt)
        return reduce_channels(raw(gradient_of(run.scores, [run.image], ["the input"])[0]), reduce)


def saliency(
    model: nn.Module, x: Inputs, *, target: Target = None, score: str = "logit", wrt: int | str = 0
) -> Float[Tensor, "b H W"]:
    """The largest |dS/dx| of the channels (Simonyan et al. 2013, section 3.1). Arguments as ``gradient``."""
    return gradient(model, x, target=target, score=score, wrt=wrt, reduce="max-abs")


def input_x_gradient(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    score: str = "logit",
    wrt: int | str = 0,
    reduce: Reduction | None = None,
) -> Float[Tensor, "b c H W"] | Float[Tensor, "b H W"]:
    """Input times dS/dx: each pixel's share of a linear score. Arguments as ``gradient``."""
    with evaluation(model):
        run = forward(model, x, target=target, score=score, wrt=wrt)
        (slope,) = gradient_of(run.scores, [run.image], ["the input"])
        return reduce_channels(raw(run.image) * raw(slope), reduce)


def guided_backprop(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    score: str = "logit",
    wrt: int | str = 0,
    partial: bool = False,
    reduce: Reduction | None = None,
) -> Float[Tensor, "b c H W"] | Float[Tensor, "b H W"]:
    """The gradient with every rectifier passing on positive signal only (Springenberg et al. 2014).

    Args:
        model: any module; evaluated in evaluation mode and given back as it was.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs of which ``wrt`` is explained.
        target: as for ``gradient``.
        score: ``"logit"`` or ``"probability"``, of class targets.
        wrt: which of several inputs is explained.
        partial: accept nonlinearities that are no rectifiers, and leave them plain.
        reduce: one map of the channels, see ``reduce_channels``; None keeps them.

    Raises:
        ConvscopeError: also where the recorded graph cannot be seen into, or has no rectifier to guide.
    """
    with evaluation(model):
        run = forward(model, x, target=target, score=score, wrt=wrt)
        with backward_rule(run.network_end, guided, to=run.image, partial=partial):
            return reduce_channels(raw(gradient_of(run.scores, [run.image], ["the input"])[0]), reduce)


def guided_saliency(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    score: str = "logit",
    wrt: int | str = 0,
    partial: bool = False,
) -> Float[Tensor, "b H W"]:
    """The largest absolute guided gradient of the channels. Arguments as ``guided_backprop``."""
    return guided_backprop(model, x, target=target, score=score, wrt=wrt, partial=partial, reduce="max-abs")
