"""Class activation maps: where in a layer's map the evidence for a class lies.

With A the activations of a layer ``(b, c, h, w)``, S the score and g = dS/dA:

    CAM         sum_k w_ck A_k                      Zhou et al. 2016, arXiv:1512.04150
    Grad-CAM    ReLU( sum_k mean_hw(g_k) A_k )      Selvaraju et al. 2017, arXiv:1610.02391

CAM takes the weights of a linear head that follows a global average: pool then linear; pool then a 1x1
convolution; or a 1x1 convolution, ReLU, pool (SqueezeNet). Its map plus bias, averaged over the map (rectified
first where the head does so), is the logit; the driver checks that on the given input and refuses otherwise.
Grad-CAM needs no such head; on one it is CAM / (h w).

Pitfalls: leaving out Grad-CAM's ReLU; starting the gradient at ones for every class; scaling to [0, 1] after
the ReLU, which makes an all-negative map look like evidence. The maps here are raw; ``relu=False`` keeps signs.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.attribution.gradients import Reduction, guided_backprop, reduce_channels
from convscope.attribution.layer_maps import Layers, gradient_maps, map_method
from convscope.network.evaluation import evaluation
from convscope.network.head import default_layer, linear_head
from convscope.network.passes import Inputs, explained_input, forward, raw
from convscope.network.targets import Target, class_logits, class_targets


def weighted_map(activation: Float[Tensor, "b c h w"], weights: Float[Tensor, "b c"]) -> Float[Tensor, "b h w"]:
    """sum_k w_k A_k for each image."""
    return (weights[:, :, None, None] * activation).sum(1)


def grad_cam_map(activation: Float[Tensor, "b c h w"], gradient: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """sum_k mean_hw(g_k) A_k, eq. 1 and, before its ReLU, eq. 2 of Selvaraju et al. 2017."""
    return weighted_map(activation, gradient.mean((2, 3)))


def upsample(values: Float[Tensor, "b h w"], size: tuple[int, int]) -> Float[Tensor, "b H W"]:
    """Bilinear, ``align_corners=False``: equal to PIL and OpenCV, peaks stay where they are."""
    return F.interpolate(values[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def cam(
    model: nn.Module, x: Inputs, *, target: Target = None, layer: str | None = None, wrt: int | str = 0
) -> Float[Tensor, "b h w"]:
    """sum_k w_ck A_k, raw and signed, for a network whose logits are a mean of it.

    Args:
        model: any module with such a head; given back as it was.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs.
        target: None (top-1), a class number, or one an image.
        layer: the layer below the head; by default the last map.
        wrt: which of several inputs is the image.

    Raises:
        ConvscopeError: the head is another one (Grad-CAM is named), or the target is no class.
    """
    explained_input(x, wrt)  # an input that is no image is refused here as in the other methods
    with evaluation(model), torch.no_grad():
        head, activation, logits = linear_head(model, x, layer or default_layer(model, x))
        seen_by_head = activation.relu() if head.rectified_input else activation
        return raw(weighted_map(seen_by_head, head.weights[class_targets(target, logits)]))


@map_method
def grad_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layers = None,
    relu: bool = True,
    score: str = "logit",
    wrt: int | str = 0,
) -> Tensor | dict[str, Tensor]:
    """ReLU(sum_k mean_hw(dS/dA_k) A_k), raw, at the layer's resolution.

    One forward pass, recorded only above the (earliest) layer, and its backward pass.

    Args:
        model: any module; given back as it was.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs.
        target: see ``gradient``; units above the layer too.
        layer: a layer that gives maps; several give a dict of maps; None is the last map before the head.
        relu: False keeps the evidence against the target, as negative values.
        score: ``"logit"`` or ``"probability"``.
        wrt: which of several inputs is the image.

    Raises:
        ConvscopeError: a layer without maps, or one that the score does not depend on.
    """
    return gradient_maps(grad_cam_map, model, x, target=target, layer=layer, relu=relu, score=score, wrt=wrt)


def guided_grad_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: str | None = None,
    score: str = "logit",
    wrt: int | str = 0,
    partial: bool = False,
    reduce: Reduction | None = None,
) -> Float[Tensor, "b c H W"] | Float[Tensor, "b H W"]:
    """Guided backprop times the upsampled Grad-CAM (Selvaraju et al. 2017, section 3.3).

    The detail of the one where the other sees the class. Arguments as ``grad_cam`` and ``guided_backprop``.
    """
    image = explained_input(x, wrt)
    if target is None:  # one class for both factors
        with evaluation(model), torch.no_grad():
            target = class_logits(forward(model, x, wrt=wrt).output).argmax(1)
    heat = grad_cam(model, x, target=target, layer=layer, score=score, wrt=wrt)
    detail = guided_backprop(model, x, target=target, score=score, wrt=wrt, partial=partial)
    return reduce_channels(detail * upsample(heat, (image.shape[2], image.shape[3]))[:, None], reduce)
