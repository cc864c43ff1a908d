"""Grad-CAM++: one weight a channel from positive gradients alone, less where the channel is active in many cells.

With A the activations of a layer ``(b, c, h, w)``, rectified, S the score and g = dS/dA,

    map = ReLU( sum_k w_k A_k ),    w_k = sum_hw alpha relu(g_k),
    alpha = g^2 / (2 g^2 + g^3 sum_hw A_k) = 1 / (2 + g sum_hw A_k)    where g > 0, else 0:

eq. 19 of Chattopadhay et al. 2018, arXiv:1710.11063. The paper derives alpha from the second and third derivatives
of exp(S), which for a piecewise linear network are powers of g times exp(S). It cancels in alpha; in the weights it
would remain as one factor of the whole map, which overflows, and is left out here. No weight is negative, and no
activation, so that the last ReLU never acts.

Pitfalls: the g^2 in numerator and denominator. With an epsilon added below, small gradients (deep layers, a small
head) fall under it and their weights vanish; cancelled by hand, as here, nothing is lost, and alpha tends to 1/2.
Where sum A_k < 0 the denominator can pass through zero: a layer with negative activations is refused, and the next
layer whose output is rectified named. Evidence against a class does not enter: maps of different classes are more
alike than Grad-CAM's.
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from convscope.attribution.activation_maps import weighted_map
from convscope.attribution.layer_maps import Layers, gradient_maps, map_method
from convscope.errors import ConvscopeError
from convscope.network.layers import LayerOutput, find_call, numbered, trace_layers
from convscope.network.passes import Inputs
from convscope.network.targets import Target

_NONE_AFTER = (
    "no layer after it gives rectified maps (a ReLU that is called as a function is no layer by itself); LayerCAM, "
    "HiResCAM and Grad-CAM take any layer"
)


def grad_cam_pp_map(activation: Float[Tensor, "b c h w"], gradient: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """sum_k (sum_hw alpha relu(g_k)) A_k of activations that are not negative."""
    slope = gradient.relu()
    alpha = 1 / (2 + slope * activation.sum((2, 3), keepdim=True))  # eq. 19; where g <= 0 its factor is 0
    return weighted_map(activation, (alpha * slope).sum((2, 3)))


@map_method
def grad_cam_pp(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layers = None,
    relu: bool = True,
    score: str = "logit",
    wrt: int | str = 0,
) -> Tensor | dict[str, Tensor]:
    """sum_k (sum_hw alpha relu(g_k)) A_k, raw ``(b, h, w)``. Arguments as ``grad_cam``; ``relu`` changes nothing.

    Raises:
        ConvscopeError: also for a layer with negative activations; the next rectified layer is named.
    """
    admit = partial(_refuse_negative, model, x)
    return gradient_maps(
        grad_cam_pp_map, model, x, target=target, layer=layer, relu=relu, score=score, wrt=wrt, admit=admit
    )


def _refuse_negative(model: nn.Module, x: Inputs, name: str, activation: Tensor) -> None:
    if not bool((activation < 0).any()):
        return
    after = next_rectified_layer(model, x, name)
    advice = f"the next rectified layer is {after!r}" if after else _NONE_AFTER
    raise ConvscopeError(
        f"Grad-CAM++ needs a layer without negative activations, and {name!r} has some, down to "
        f"{float(activation.min()):.3g}; {advice}"
    )


def next_rectified_layer(model: nn.Module, x: Inputs, layer: str) -> str | None:
    """The first layer to end after ``layer`` whose maps have no negative value on this input; None if none has."""
    call = find_call(model, layer)
    names: list[str] = []
    passed: list[int] = []
    rectified: list[int] = []

    def visit(item: LayerOutput) -> None:
        is_map = item.output.ndim == 4 and item.output.shape[2] * item.output.shape[3] > 1
        if passed and not rectified and is_map and not bool((item.output < 0).any()):
            rectified.append(len(names))
        names.append(item.name)
        if item.module is call.module and _number(item.name) == (call.number or 1):
            passed.append(len(names))

    trace_layers(model, x, visit)
    return numbered(names)[rectified[0]] if rectified else None


def _number(name: str) -> int:
    """Which call of its layer a name of a trace stands for."""
    _, _, number = name.partition("#")
    return int(number or 1)
