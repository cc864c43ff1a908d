"""Grad-CAM's successors that weigh each channel, or each cell, of a layer's map by its own gradient.

With A the activations of a layer ``(b, c, h, w)``, S the score and g = dS/dA:

    XGrad-CAM   ReLU( sum_k (sum_hw g_k A_k / sum_hw A_k) A_k )    Fu et al. 2020, arXiv:2008.02312
    LayerCAM    ReLU( sum_k relu(g_k) A_k )                        Jiang et al. 2021, IEEE TIP 30
    HiResCAM    ReLU( sum_k g_k A_k )                              Draelos & Carin 2020, arXiv:2011.08891

Grad-CAM spreads a channel's mean gradient over its whole map. HiResCAM does not: each cell keeps its own gradient,
and below a linear head the map is exactly what each cell gives to the score. LayerCAM keeps the positive gradients
only, which leaves usable maps in early layers. XGrad-CAM chooses one weight a channel such that the map's sum,
before the ReLU, is sum g A: in a ReLU network without biases the score itself. Where g is constant over the map,
as under a global average, HiResCAM, XGrad-CAM and Grad-CAM are one map.

Pitfalls: XGrad-CAM divides by a map's sum. After a ReLU that is safe (a map with sum 0 is all zero, and gives 0);
before one, positive and negative activations cancel, and a map whose sum is near 0 gets a huge weight of either
sign: the definition still holds, its picture is then of one arbitrary channel. An epsilon in that division, as
packages have it, hides this and breaks the sum. The maps here are raw; ``relu=False`` keeps signs.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.attribution.activation_maps import weighted_map
from convscope.attribution.layer_maps import Layers, gradient_maps, map_method
from convscope.network.passes import Inputs
from convscope.network.targets import Target


def xgrad_cam_map(activation: Float[Tensor, "b c h w"], gradient: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """sum_k w_k A_k with w_k = sum_hw g_k A_k / sum_hw A_k; a map of sum 0 gives 0."""
    total = activation.sum((2, 3))
    share = (gradient * activation).sum((2, 3)) / torch.where(total == 0, 1.0, total)
    return weighted_map(activation, torch.where(total == 0, 0.0, share))


def layer_cam_map(activation: Float[Tensor, "b c h w"], gradient: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """sum_k relu(g_k) A_k: of each cell, what raises the score."""
    return (gradient.relu() * activation).sum(1)


def hires_cam_map(activation: Float[Tensor, "b c h w"], gradient: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
    """sum_k g_k A_k: each cell with its own gradient."""
    return (gradient * activation).sum(1)


@map_method
def xgrad_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layers = None,
    relu: bool = True,
    score: str = "logit",
    wrt: int | str = 0,
) -> Tensor | dict[str, Tensor]:
    """ReLU(sum_k (sum g A / sum A) A_k), raw ``(b, h, w)``. Arguments as ``grad_cam``.

    For layers whose output is rectified: on others the division can explode (see the module's pitfalls).
    """
    return gradient_maps(xgrad_cam_map, model, x, target=target, layer=layer, relu=relu, score=score, wrt=wrt)


@map_method
def layer_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layers = None,
    relu: bool = True,
    score: str = "logit",
    wrt: int | str = 0,
) -> Tensor | dict[str, Tensor]:
    """ReLU(sum_k relu(g_k) A_k), raw ``(b, h, w)``. Arguments as ``grad_cam``."""
    return gradient_maps(layer_cam_map, model, x, target=target, layer=layer, relu=relu, score=score, wrt=wrt)


@map_method
def hires_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layers = None,
    relu: bool = True,
    score: str = "logit",
    wrt: int | str = 0,
) -> Tensor | dict[str, Tensor]:
    """ReLU(sum_k g_k A_k), raw ``(b, h, w)``. Arguments as ``grad_cam``."""
    return gradient_maps(hires_cam_map, model, x, target=target, layer=layer, relu=relu, score=score, wrt=wrt)
