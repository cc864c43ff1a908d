"""The oracles against something simpler still: autograd, closed forms, captum-like hooks, numbers worked by hand."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests import nets, oracles
from tests.untouched import Untouched

SEQUENTIAL = (nets.plain, nets.inplace_relu, nets.overlapping_pool, nets.strided, nets.gap_linear, nets.linear_only)
SEQUENTIAL += (nets.pool_conv, nets.conv_relu_gap, nets.norm_dropout, nets.mlp)
TOLERANCE = {"rtol": 0, "atol": 1e-12}


def _autograd(net: nn.Module, x: Tensor, target: int) -> Tensor:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[:, target].sum(), x)
    return gradient


@pytest.mark.parametrize("factory", SEQUENTIAL)
@pytest.mark.parametrize("side", [12, 11])
def test_gradient_by_hand_is_autograd(factory: Callable[..., nn.Sequential], side: int) -> None:
    if factory is nets.mlp:
        side = nets.SIDE
    net, x = factory(), nets.images(h=side)
    assert torch.allclose(oracles.gradient(net, x, 3), _autograd(net, x, 3), **TOLERANCE)


def test_a_relu_in_place_does_not_spoil_the_record() -> None:
    x = nets.images()
    for kept, expected in zip(
        oracles.forward_by_hand(nets.inplace_relu(), x), oracles.forward_by_hand(nets.plain(), x), strict=True
    ):
        assert torch.equal(kept, expected)


@pytest.mark.parametrize("factory", [nets.plain, nets.overlapping_pool, nets.strided])
def test_central_differences_are_autograd(factory: Callable[..., nn.Module]) -> None:
    net, x = factory(), nets.images(h=8, w=8)
    slopes = oracles.central_differences(lambda x: net(x)[:, 2], x)
    assert torch.allclose(slopes, _autograd(net, x, 2), rtol=0, atol=1e-8)


def test_central_differences_of_a_quadratic() -> None:
    """Closed form: d(sum of x^2) = 2 x, and the images of a batch do not mix."""
    x = nets.images(2, 1, 2, 3)
    slopes = oracles.central_differences(lambda x: x.square().flatten(1).sum(1), x)
    assert torch.allclose(slopes, 2 * x, rtol=0, atol=1e-9)


def _with_module_hooks(net: nn.Module, x: Tensor, target: int, *, forward_mask: bool) -> Tensor:
    """Guided backprop and deconvnet as captum does them: a full backward hook on each ReLU module."""

    def hook(module: nn.Module, grad_in: tuple[Tensor, ...], grad_out: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (F.relu(grad_in[0]),) if forward_mask else (F.relu(grad_out[0]),)

    relus = [part for part in net.modules() if isinstance(part, nn.ReLU)]
    handles = [relu.register_full_backward_hook(hook) for relu in relus]
    try:
        return _autograd(net, x, target)
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("factory", [nets.plain, nets.overlapping_pool, nets.strided, nets.gap_linear])
def test_guided_backprop_is_that_of_module_hooks(factory: Callable[..., nn.Sequential]) -> None:
    net, x = factory(), nets.images()
    guided = oracles.guided_backprop(net, x, 1)
    assert torch.allclose(guided, _with_module_hooks(net, x, 1, forward_mask=True), **TOLERANCE)
    assert not torch.allclose(guided, oracles.gradient(net, x, 1))


@pytest.mark.parametrize("factory", [nets.plain, nets.overlapping_pool, nets.strided, nets.gap_linear])
def test_deconvnet_of_a_class_is_that_of_module_hooks(factory: Callable[..., nn.Sequential]) -> None:
    net, x = factory(), nets.images()
    deconv = oracles.deconvnet(net, x, target=1)
    assert torch.allclose(deconv, _with_module_hooks(net, x, 1, forward_mask=False), **TOLERANCE)
    assert not torch.allclose(deconv, oracles.guided_backprop(net, x, 1))


@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2"])
def test_bare_transposed_filters_are_the_adjoint(layer: str, untouched: Untouched) -> None:
    """<A x, v> = <x, A' v> for the linear part: no rectifier, no bias, switches fixed by the forward pass."""
    net, x = nets.overlapping_pool(), nets.images(1)
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.zeros_(part.bias)
    untouched.watch(net)
    names = [name for name, _ in net.named_children()]
    with torch.no_grad():
        relus_off = nn.Sequential(*(nn.Identity() if isinstance(part, nn.ReLU) else part for part in net))
        forward = relus_off[: names.index(layer) + 1](x)
    v = torch.randn(forward.shape, generator=torch.Generator().manual_seed(3), dtype=x.dtype)
    back = oracles.backward_by_hand(relus_off, x, v, rule="none", layer=str(names.index(layer)))
    assert torch.allclose((forward * v).sum(), (x * back).sum(), rtol=1e-12)


def test_deconvnet_from_the_first_layer_is_its_filter() -> None:
    """Closed form: from unit 4 of conv1 at (y, x) the picture is relu(A) times its filter, placed there."""
    net, image = nets.plain(), nets.images(1)
    acts = net[1](net[0](image)).detach()[0, 4, 1:-1, 1:-1]
    y, x = divmod(int(acts.argmax()), acts.shape[1])
    assert acts[y, x] > 0
    expected = torch.zeros_like(image)
    expected[0, :, y : y + 3, x : x + 3] = acts[y, x] * net[0].weight.detach()[4]
    picture = oracles.deconvnet(net, image, layer="relu1", unit=4, position=(y + 1, x + 1))
    assert torch.allclose(picture, expected, **TOLERANCE)


def test_deconvnet_seeds_add_up_where_no_rectifier_is_below() -> None:
    """Closed form: below relu1 everything is linear, so the map's picture is the sum of its units' pictures."""
    net, x = nets.plain(), nets.images()
    units = [oracles.deconvnet(net, x, layer="relu1", unit=unit) for unit in range(6)]
    assert torch.allclose(oracles.deconvnet(net, x, layer="relu1"), sum(units), **TOLERANCE)


def test_a_conv_layer_starts_from_its_positive_part() -> None:
    """The convolution's own map is negative in places; the seed is relu(A), as one layer further up."""
    net, x = nets.plain(), nets.images()
    assert (net[0](x) < 0).any()
    assert torch.equal(oracles.deconvnet(net, x, layer="conv1"), oracles.deconvnet(net, x, layer="relu1"))


def test_unpooling_adds_where_windows_overlap() -> None:
    """By hand: the 9 at column 2 wins both 1x3/2 windows of a row of five, and gets both signals."""
    pool = nn.MaxPool2d((1, 3), (1, 2))
    x, signal = torch.tensor([[[[0.0, 1, 9, 2, 3]]]]), torch.tensor([[[[10.0, 100]]]])
    assert oracles.unpool_adding(pool, x, signal).flatten().tolist() == [0, 0, 110, 0, 0]
    tied = torch.zeros(1, 1, 1, 5)  # of equals the first wins, as in torch's max-pooling
    assert oracles.unpool_adding(pool, tied, signal).flatten().tolist() == [10, 0, 100, 0, 0]


def test_transposed_convolution_keeps_the_far_pixel() -> None:
    """By hand: 1x1/2 on four pixels sees pixels 0 and 2; the adjoint has four pixels again, not three."""
    conv = nn.utils.skip_init(nn.Conv2d, 1, 1, (1, 1), stride=(1, 2), bias=False)
    nn.init.constant_(conv.weight, 2.0)
    back = oracles.transposed_convolution(conv, torch.tensor([[[[1.0, 3.0]]]]), torch.Size([1, 1, 1, 4]))
    assert back.flatten().tolist() == [2, 0, 6, 0]


def test_grad_cam_is_the_einsum() -> None:
    acts, grads = nets.images(2, 4, 3, 5, seed=1), nets.images(2, 4, 3, 5, seed=2)
    expected = torch.einsum("bc,bchw->bhw", grads.mean((2, 3)), acts)
    assert torch.allclose(oracles.grad_cam(acts, grads, relu=False), expected, **TOLERANCE)
    assert torch.allclose(oracles.grad_cam(acts, grads), expected.relu(), **TOLERANCE)


def test_gradient_at_a_layer_is_autograd() -> None:
    net, x = nets.gap_linear(), nets.images()
    acts, grads = oracles.gradient_at(net, x, 2, "relu2")
    below, above = net[:5], net[5:]
    assert torch.equal(acts, below(x))
    assert torch.allclose(grads, _autograd(above, acts, 2), **TOLERANCE)


def test_the_mean_of_cam_is_the_logit() -> None:
    """Zhou et al. 2016: mean(CAM) + b = logit; and h * w * Grad-CAM before its ReLU is the CAM."""
    net, x = nets.gap_linear(), nets.images()
    acts, grads = oracles.gradient_at(net, x, 2, "relu2")
    heat = oracles.cam(acts, net.linear.weight.detach()[2])
    assert torch.allclose(heat.mean((1, 2)) + net.linear.bias[2], net(x)[:, 2], **TOLERANCE)
    assert torch.allclose(acts[0, 0].numel() * oracles.grad_cam(acts, grads, relu=False), heat, **TOLERANCE)


@given(st.integers(1, 30), st.integers(1, 12), st.data())
def test_window_starts_are_the_formula(length: int, size: int, data: st.DataObject) -> None:
    """ceil((H - size) / stride) + 1 positions (one where the square is larger), and every pixel is covered."""
    stride = data.draw(st.integers(1, size))
    starts = oracles.window_starts(length, size, stride)
    assert len(starts) == max(0, -((size - length) // stride)) + 1
    assert all(start < length for start in starts)
    covered = {pixel for start in starts for pixel in range(start, min(start + size, length))}
    assert covered == set(range(length))


def test_occlusion_by_hand() -> None:
    """By hand, S = sum of x, three pixels of 1, 2, 4 in a row, squares of 2, stride 1: drops 3 and 6."""
    x = torch.tensor([[[[1.0, 2.0, 4.0]]]], dtype=torch.float64)
    read = {"score": lambda out: out[:, 0], "size": (1, 2), "stride": 1}
    logits = _sum_and_constant
    assert oracles.occlusion(logits, x, reading="drop", **read).tolist() == [[[3, 6]]]
    assert oracles.occlusion(logits, x, reading="score", **read).tolist() == [[[4, 1]]]
    assert oracles.occlusion(logits, x, reading="class", **read).tolist() == [[[0, 1]]]
    assert oracles.occlusion(logits, x, reading="pixels", **read).tolist() == [[[3, 4.5, 6]]]
    assert oracles.occlusion(logits, x, reading="drop", fill=1.0, **read).tolist() == [[[1, 4]]]


def _sum_and_constant(x: Tensor) -> Tensor:
    return torch.stack([x.sum((1, 2, 3)), torch.full((len(x),), 2.0, dtype=x.dtype)], 1)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_occlusion_of_a_linear_net_is_its_weights(stride: int) -> None:
    """Closed form: filling with 0 drops the score by the sum of w * x under the square, the last one cut."""
    net, x = nets.linear_only(), nets.images(2, h=8, w=9)
    wx = (_autograd(net, x, 1) * x).sum(1)
    drops = oracles.occlusion(net, x, score=lambda out: out[:, 1], size=3, stride=stride, reading="drop")
    for i, top in enumerate(range(0, stride * drops.shape[1], stride)):
        for j, left in enumerate(range(0, stride * drops.shape[2], stride)):
            under = wx[:, top : top + 3, left : left + 3].sum((1, 2))
            assert torch.allclose(drops[:, i, j], under, **TOLERANCE)


def test_occlusion_by_single_pixels_is_w_times_x() -> None:
    net, x = nets.linear_only(), nets.images(1, h=8, w=8)
    drops = oracles.occlusion(net, x, score=lambda out: out[:, 0], size=1, stride=1)
    assert torch.allclose(drops, (_autograd(net, x, 0) * x).sum(1), **TOLERANCE)
