"""Grad-CAM++ against the paper in loops, its derivatives by autograd, its limits, and what it refuses."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import grad_cam_pp
from convscope.attribution.plus_plus_map import grad_cam_pp_map, next_rectified_layer
from convscope.errors import ConvscopeError
from tests import nets, oracles
from tests.nets.heads import rectified_before_the_mean, stages, trunk_of_parts
from tests.untouched import Untouched

EXACT = {"rtol": 0, "atol": 1e-12}


def slow_grad_cam_pp(acts: Tensor, grads: Tensor) -> Tensor:
    """Chattopadhay et al. 2018, eqs. 5, 7 and 19 in loops, with the powers of g as the paper writes them."""
    b, c, h, w = acts.shape
    heat = torch.zeros(b, h, w, dtype=acts.dtype)
    for n in range(b):
        for k in range(c):
            total, weight = acts[n, k].sum().item(), 0.0
            for i in range(h):
                for j in range(w):
                    g = grads[n, k, i, j].item()
                    if g > 0:
                        weight += g**2 / (2 * g**2 + total * g**3) * g
            heat[n] += weight * acts[n, k]
    return heat.clamp(min=0)


@pytest.mark.parametrize("factory", [nets.plain, nets.inplace_relu, nets.overlapping_pool, nets.gap_linear])
@pytest.mark.parametrize("layer", ["relu1", "pool1", "relu2"])
@pytest.mark.parametrize("head", [1.0, 1e-3, 1e3])
def test_it_is_the_paper_replica_however_small_the_gradients(
    factory: Callable[..., nn.Sequential], layer: str, head: float, untouched: Untouched
) -> None:
    net, x = _with_head_times(factory(), head), nets.images()
    untouched.watch(net)
    for target in (0, 3):
        expected = slow_grad_cam_pp(*oracles.gradient_at(net, x, target, layer))
        assert expected.any()
        found = grad_cam_pp(net, x, target=target, layer=layer)
        assert torch.allclose(found, expected, rtol=1e-10, atol=0)
        assert torch.equal(found, grad_cam_pp(net, x, target=target, layer=layer, relu=False))


def _with_head_times(net: nn.Module, factor: float) -> Any:
    with torch.no_grad():
        head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
        head.weight.mul_(factor)
        head.bias.mul_(factor)
    return net


def test_as_the_gradient_goes_to_zero_alpha_goes_to_a_half(untouched: Untouched) -> None:
    """Closed form: map / s -> sum_k (sum_hw relu(g_k) / 2) A_k for a head times s -> 0; an epsilon would give 0."""
    whole, x = nets.plain(), nets.images()
    acts, grads = oracles.gradient_at(whole, x, 1, "relu1")
    limit = (grads.relu().sum((2, 3), keepdim=True) / 2 * acts).sum(1)
    for s in (1e-4, 1e-7):
        net = untouched.watch(_with_head_times(nets.plain(), s))
        found = grad_cam_pp(net, x, target=1, layer="relu1") / s
        assert ((found - limit).abs() <= 100 * s * limit.max()).all()
        single = untouched.watch(_with_head_times(nets.plain(dtype=torch.float32), s))
        values = grad_cam_pp(single, x.float(), target=1, layer="relu1").double() / s
        assert torch.allclose(values, found, rtol=1e-4, atol=1e-6 * float(limit.max()))


def test_alpha_is_made_of_the_derivatives_of_the_exponential_score() -> None:
    """Closed form, eq. 10: alpha = Y'' / (2 Y'' + sum A Y''') with Y = exp(S), each derivative by autograd."""
    acts = nets.images(1, 2, 2, 2, seed=1).abs().requires_grad_()
    slopes = nets.images(1, 2, 2, 2, seed=2)
    first = torch.autograd.grad((slopes * acts).sum().exp(), acts, create_graph=True)[0]
    weights = torch.zeros(1, 2, dtype=torch.float64)
    for k in range(2):
        for i in range(4):
            second = torch.autograd.grad(first[0, k].flatten()[i], acts, create_graph=True)[0][0, k].flatten()[i]
            third = torch.autograd.grad(second, acts, retain_graph=True)[0][0, k].flatten()[i]
            alpha = (second / (2 * second + acts[0, k].sum() * third)).item()
            weights[0, k] += alpha * max(slopes[0, k].flatten()[i].item(), 0.0)
    expected = (weights[:, :, None, None] * acts.detach()).sum(1)
    assert torch.allclose(grad_cam_pp_map(acts.detach(), slopes), expected, **EXACT)


def test_dead_and_flat_channels() -> None:
    acts, grads = nets.images(2, 4, 3, 5, seed=1).relu(), nets.images(2, 4, 3, 5, seed=2)
    acts[0, 1], acts[1, 2], grads[0, 3] = 0.0, 3.0, 0.0
    assert torch.allclose(grad_cam_pp_map(acts, grads), slow_grad_cam_pp(acts, grads), **EXACT)


# ---- layers with negative activations ----


@pytest.mark.parametrize(
    ("factory", "layer", "named"),
    [
        (nets.plain, "conv1", "relu1"),
        (nets.plain, "conv2", "relu2"),
        (nets.inplace_relu, "conv1", "relu1"),
        (nets.inplace_relu, "conv2", "relu2"),
        (nets.reused_relu, "conv1", "rectify#1"),
        (nets.reused_relu, "conv2", "rectify#2"),
        (nets.reused_inplace_relu, "conv2", "rectify#2"),
        (nets.functional_relu, "conv1", "pool1"),  # the ReLU has no name: the pooling after it is the first
        (nets.functional_inplace_relu, "conv2", "pool2"),
        (nets.method_relu, "conv1", "pool1"),
        (nets.norm_dropout, "norm1", "relu1"),
        (nets.hardswish_mix, "0", "3"),
        (nets.hardswish_mix, "1", "3"),
        (stages, "stage2.0.conv", "stage2.0.relu"),
        (trunk_of_parts, "features.0", "features.1"),
    ],
)
def test_a_layer_with_negative_activations_is_refused_and_the_next_rectified_named(
    factory: Callable[..., nn.Module], layer: str, named: str
) -> None:
    net, x = factory(), nets.images()
    says = f"without negative activations, and '{layer}' has some, down to -.*; the next rectified layer is '{named}'$"
    with pytest.raises(ConvscopeError, match=says):
        grad_cam_pp(net, x, layer=layer)
    assert grad_cam_pp(net, x, layer=named).any()  # the advice works


@pytest.mark.parametrize(
    ("factory", "layer"),
    [
        (rectified_before_the_mean, None),
        (nets.gelu_only, "2"),
        (nets.skip, "conv2"),
        (nets.shared_conv, "conv2#1"),
        (nets.linear_only, None),
    ],
)
def test_where_no_rectified_layer_follows_the_refusal_says_so(
    factory: Callable[..., nn.Module], layer: str | None
) -> None:
    with pytest.raises(ConvscopeError, match=r"no layer after it gives rectified maps .*LayerCAM, HiResCAM"):
        grad_cam_pp(factory(), nets.images(), layer=layer)


class _Reusing(nn.Module):
    """One convolution and one ReLU, each run twice; then a ReLU that is called, and a pooling to single cells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(3, 8, 3)
        self.pool, self.linear = nn.AdaptiveAvgPool2d(1), nn.Linear(8, nets.CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.conv(self.relu(self.conv(x))))
        return self.linear(self.pool(self.last(h).relu()).flatten(1))


@nets.hard_net
def reusing() -> nn.Module:
    return _Reusing()


def test_calls_of_reused_layers_are_told_apart_and_single_cells_are_no_advice() -> None:
    net, x = reusing(), nets.images()
    for layer, named in (("conv#1", "relu#1"), ("conv#2", "relu#2"), ("last", None)):
        assert next_rectified_layer(net, x, layer) == named
        with pytest.raises(ConvscopeError, match=f"'{named}'$" if named else "no layer after it"):
            grad_cam_pp(net, x, layer=layer)


def test_of_several_layers_each_must_be_rectified() -> None:
    with pytest.raises(ConvscopeError, match=r"'conv2' has some.*'relu2'"):
        grad_cam_pp(nets.plain(), nets.images(), layer=["relu1", "conv2"])


def test_one_image_of_a_batch_is_enough(untouched: Untouched) -> None:
    """Pixels above 0 through weights above 0 stay there; their negatives do not."""
    net, x = nets.plain(), nets.images(1).abs()
    with torch.no_grad():
        net.conv1.weight.abs_()
        net.conv1.bias.zero_()
    untouched.watch(net)
    assert grad_cam_pp(net, x, target=1, layer="conv1").any()
    with pytest.raises(ConvscopeError, match="the next rectified layer is 'relu1'"):
        grad_cam_pp(net, torch.cat([x, -x]), target=1, layer="conv1")


def test_on_squeezenet_and_a_resnet_with_functional_relus(squeezenet: nn.Module, resnet20: nn.Module) -> None:
    """Golden: the layers by the networks' own code."""
    x = nets.images(1, h=64, w=64, dtype=torch.float32)
    for layer, named in (
        ("features.0", "features.1"),
        ("features.3.squeeze", "features.3.squeeze_activation"),
        ("features.3.expand1x1", "features.3.expand1x1_activation"),
        ("features.12.expand3x3", "features.12.expand3x3_activation"),
    ):
        assert next_rectified_layer(squeezenet, x, layer) == named
    small = nets.images(1, h=32, w=32, dtype=torch.float32)
    for layer, named in (("conv1", "layer1.0"), ("layer1.0.bn2", "layer1.0"), ("layer3.2.conv1", "layer3.2")):
        assert next_rectified_layer(resnet20, small, layer) == named
        with pytest.raises(ConvscopeError, match=f"'{named}'$"):
            grad_cam_pp(resnet20, small, layer=layer)
    assert math.isfinite(grad_cam_pp(resnet20, small).sum())
