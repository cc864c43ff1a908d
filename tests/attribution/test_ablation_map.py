"""Ablation-CAM against its paper in a slow loop, closed forms on a global average, scores of either sign and zero."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import METHODS, ablation_cam, grad_cam
from convscope.attribution.ablation_map import _switched_off, ablation_weights
from convscope.errors import ConvscopeError
from tests import nets, oracles
from tests.nets import heads
from tests.untouched import watch

EXACT = {"rtol": 0, "atol": 1e-11}
SIGNED: Any = {"relu": False}


def replica(net: nn.Sequential, x: Tensor, target: int, layer: str, *, relu: bool = True) -> Tensor:
    """Desai & Ramaswamy 2020, eqs. 3 and 4: one image, one channel at a time, on a network in a row."""
    cut = [name for name, _ in net.named_children()].index(layer) + 1
    heat = []
    with torch.no_grad():
        for n in range(len(x)):
            kept = oracles.forward_by_hand(net, x[n : n + 1])
            acts, y = kept[cut], kept[-1][0, target].item()
            values = torch.zeros(acts.shape[2:], dtype=torch.float64)
            for k in range(acts.shape[1]):
                without = acts.clone()
                without[0, k] = 0.0
                y_k = oracles.forward_by_hand(net[cut:], without)[-1][0, target].item()
                values += ((y - y_k) / abs(y) if y else 0.0) * acts[0, k]
            heat.append(values.clamp(min=0) if relu else values)
    return torch.stack(heat)


def by_hook(net: nn.Module, x: Tensor, target: int, layer: str) -> Tensor:
    """The same on any network, signed: a hook of torch's own sets the channel to zero."""
    part, seen, off = net.get_submodule(layer), list[Tensor](), list[int]()

    def hook(_module: nn.Module, _args: object, out: Tensor) -> Tensor:
        seen.append(out.detach().clone())
        out = out.clone()
        if off:
            out[:, off[0]] = 0.0
        return out

    handle = part.register_forward_hook(hook)
    with torch.no_grad():
        y = net(x.clone())[:, target]
        acts, values = seen[0], torch.zeros_like(seen[0][:, 0])
        for k in range(acts.shape[1]):
            off[:] = [k]
            values += ((y - net(x.clone())[:, target]) / y.abs())[:, None, None] * acts[:, k]
    handle.remove()
    return values


# ---- the paper ----


@pytest.mark.parametrize(
    ("factory", "layers"),
    [
        (nets.plain, ["conv1", "relu1", "conv2", "relu2"]),
        (nets.inplace_relu, ["conv1", "conv2"]),
        (nets.overlapping_pool, ["pool1"]),
        (nets.strided, ["conv1"]),
        (nets.gap_linear, ["conv1", "relu2"]),
        (nets.conv_relu_gap, ["relu2"]),
        (nets.norm_dropout, ["conv1", "norm1", "relu1"]),
    ],
)
@pytest.mark.parametrize("target", range(nets.CLASSES))
def test_it_is_the_papers_loop(factory: Callable[..., nn.Sequential], layers: list[str], target: int) -> None:
    """Layers with negative values too: there a channel goes to zero as well."""
    net, x = factory(), nets.images(2, h=13, w=10)
    for layer in layers:
        expected = replica(net, x, target, layer, relu=False)
        assert torch.allclose(ablation_cam(net, x, target=target, layer=layer, relu=False), expected, **EXACT)
        rectified = ablation_cam(net, x, target=target, layer=layer)
        assert torch.allclose(rectified, replica(net, x, target, layer), **EXACT)


@pytest.mark.parametrize(
    ("factory", "layer"),
    [
        (nets.residual, "stem"),
        (nets.residual, "conv1"),
        (nets.residual, "conv2"),
        (nets.skip, "conv1"),
        (nets.view_write, "conv1"),
        (nets.checkpointed, "conv1"),
        (nets.custom_function, "conv2"),
        (nets.writes_input, "conv2"),
        (nets.no_grad, "conv2"),
        (nets.unused_layer, "conv1"),
    ],
)
@pytest.mark.parametrize("batch", [1, 5])
def test_shortcuts_views_and_opaque_parts_are_the_same_loop_by_hand(
    factory: Callable[..., nn.Module], layer: str, batch: int
) -> None:
    net, x = factory(), nets.images(2, h=12, w=12)
    expected = torch.cat([by_hook(net, x[n : n + 1], n, layer) for n in range(2)])
    found = ablation_cam(net, x, target=[0, 1], layer=layer, relu=False, batch=batch)
    assert torch.allclose(found, expected, **EXACT)


def test_tokens_have_their_channels_last() -> None:
    """Oracle: torch's own hook on the layer; its 6 tokens (b, 6, 8) lie on a map of 3 x 2."""
    net, x, off, seen = heads.tokens(), nets.images(1, h=12, w=8), list[int](), list[Tensor]()

    def hook(_module: nn.Module, _args: object, out: Tensor) -> Tensor:
        seen.append(out.detach())
        return out * torch.tensor([float(k not in off) for k in range(8)], dtype=out.dtype)

    handle = net.get_submodule("mix").register_forward_hook(hook)
    with torch.no_grad():
        y, values = net(x)[:, 2], torch.zeros(1, 3, 2, dtype=torch.float64)
        for k in range(8):
            off[:] = [k]
            values += (y - net(x)[:, 2]) / y.abs() * seen[0].reshape(1, 3, 2, 8)[..., k]
    handle.remove()
    assert torch.allclose(ablation_cam(net, x, target=2, layer="mix", **SIGNED), values, **EXACT)


def test_one_call_of_a_layer_that_runs_twice_is_meant() -> None:
    """Closed form by hand of ``shared_conv``: only the asked call's channel is off."""
    net, x = nets.shared_conv(), nets.images(1)
    conv1, conv2, head = net.get_submodule("conv1"), net.get_submodule("conv2"), net.get_submodule("linear")
    with torch.no_grad():
        first = conv2(conv1(x).relu())

        def score(first: Tensor) -> Tensor:
            return head(conv2(first.relu()).relu().mean((2, 3)))[:, 2]

        y, values = score(first), torch.zeros_like(first[:, 0])
        for k in range(first.shape[1]):
            without = first.clone()
            without[:, k] = 0
            values += (y - score(without)) / y.abs() * first[:, k]
    assert torch.allclose(ablation_cam(net, x, target=2, layer="conv2#1", **SIGNED), values, **EXACT)
    with pytest.raises(ConvscopeError, match="runs more than once"):
        ablation_cam(net, x, target=2, layer="conv2")


# ---- closed forms ----


@pytest.mark.parametrize("target", range(nets.CLASSES))
def test_on_a_mean_and_a_linear_layer_the_weight_is_w_times_the_mean_over_the_score(target: int) -> None:
    """Closed form: w_k = w_ck mean(A_k) / |y|, for scores of either sign."""
    net, x = nets.gap_linear(), nets.images(4)
    acts = oracles.forward_by_hand(net, x)[[n for n, _ in net.named_children()].index("relu2") + 1]
    weights = net.get_submodule("linear").weight.detach()[target]
    size = net(x)[:, target].detach().abs()
    expected = ((weights * acts.mean((2, 3)) / size[:, None])[:, :, None, None] * acts).sum(1)
    assert torch.allclose(ablation_cam(net, x, target=target, layer="relu2", **SIGNED), expected, **EXACT)


def test_the_nets_have_scores_of_both_signs() -> None:
    """Else the tests above would not see y divided by in place of its size."""
    logits = nets.gap_linear()(nets.images(4))
    assert (logits < 0).any()
    assert (logits > 0).any()


def test_a_negative_score_does_not_turn_the_map_round() -> None:
    """Closed form: a head of the opposite sign gives the opposite map; with y in place of |y| it would be the same.

    Only the bias decides the sign of y here: what raises the score does so whether it is negative or not.
    """
    net, x = nets.gap_linear(), nets.images(3)
    maps = ablation_cam(net, x, target=1, **SIGNED)
    shifted = {}
    for bias in (-50.0, 50.0):
        other = nets.gap_linear()
        other.get_submodule("linear").bias.data.fill_(bias)
        watch(other)
        assert (other(x)[:, 1] * bias > 0).all()
        shifted[bias] = ablation_cam(other, x, target=1, **SIGNED) * other(x)[:, 1].detach().abs()[:, None, None]
    assert torch.allclose(shifted[-50.0], shifted[50.0], **EXACT)
    assert torch.allclose(shifted[50.0], maps * net(x)[:, 1].detach().abs()[:, None, None], **EXACT)


def test_a_score_of_zero_gives_a_zero_map_and_the_table_says_why() -> None:
    """A rectified head, SqueezeNet's, whose class is off: y = 0 although y_0 > 0; its shares would be infinite."""
    net, x = nets.conv_relu_gap(), nets.images(2)
    head = net.get_submodule("classifier")
    head.weight.data[3] = 1.0
    head.weight.data[3, 0] = -100.0
    head.bias.data[3] = 0.0
    net.get_submodule("conv2").bias.data[0] = 10.0  # channel 0 is on everywhere
    watch(net)
    assert not net(x)[:, 3].any()
    acts = oracles.forward_by_hand(net, x)[[n for n, _ in net.named_children()].index("relu2") + 1]
    acts[:, 0] = 0
    assert net[[n for n, _ in net.named_children()].index("relu2") + 1 :](acts)[:, 3].all()
    assert ablation_cam(net, x, target=3, layer="relu2", **SIGNED).eq(0).all()
    assert "exactly 0" in METHODS["ablation-cam"].zero


def test_weights_are_shares_of_the_score() -> None:
    ablated = torch.tensor([1.0, 5.0, 7.0], dtype=torch.float64)
    for y, expected in ((5.0, [0.8, 0.0, -0.4]), (-5.0, [-1.2, -2.0, -2.4]), (0.0, [0.0, 0.0, 0.0])):
        found = ablation_weights(torch.tensor(y, dtype=torch.float64), ablated)
        assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), **EXACT)


def test_the_mean_of_a_unit_of_the_layer_depends_on_that_unit_alone() -> None:
    """Closed form: y_k = 0 for the unit itself, y for all others: the map is the unit's own, times the sign of y."""
    net, x = nets.plain(), nets.images(2)
    for layer in ("relu2", "conv2"):
        acts = oracles.forward_by_hand(net, x)[[n for n, _ in net.named_children()].index(layer) + 1]
        sign = acts[:, 3].mean((1, 2)).sign()
        found = ablation_cam(net, x, target=f"{layer}:3", layer=layer, **SIGNED)
        assert torch.allclose(found, sign[:, None, None] * acts[:, 3], **EXACT)


def test_permuting_channels_changes_nothing() -> None:
    net, other, x = nets.gap_linear(), nets.gap_linear(), nets.images(2)
    order = torch.randperm(net.get_submodule("conv2").out_channels, generator=torch.Generator().manual_seed(3))
    conv, linear = other.get_submodule("conv2"), other.get_submodule("linear")
    conv.weight.data, conv.bias.data = conv.weight.data[order], conv.bias.data[order]
    linear.weight.data = linear.weight.data[:, order]
    watch(other)
    assert torch.allclose(other(x), net(x), **EXACT)
    expected = ablation_cam(net, x, target=1, layer="relu2", **SIGNED)
    assert torch.allclose(ablation_cam(other, x, target=1, layer="relu2", batch=3, **SIGNED), expected, **EXACT)


@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_one_channel_of_each_copy_is_switched_off_on_whatever_axis(axis: int) -> None:
    """Slow loop; tokens keep their channels last."""
    values = nets.images(3, 4, 4, 4)
    channels, expected = torch.tensor([2, 0, 3]), nets.images(3, 4, 4, 4)
    for i in range(3):
        expected[i].select(axis - 1 if axis > 0 else axis, int(channels[i])).zero_()
    assert torch.equal(_switched_off(values, channels, axis), expected)
    tokens = nets.images(2, 1, 5, 4)[:, 0]
    found = _switched_off(tokens.clone(), torch.tensor([1, 3]), 2)
    assert not found[0, :, 1].any()
    assert not found[1, :, 3].any()
    assert int((found != tokens).sum()) == 10


def test_a_map_of_one_pixel_is_its_weighted_sum() -> None:
    net, x = nets.gap_linear(), nets.images(1, h=2, w=2)
    values = ablation_cam(net, x, target=1, layer="relu2", **SIGNED)
    assert values.shape == (1, 1, 1)
    assert torch.allclose(values, replica(net, x, 1, "relu2", relu=False), **EXACT)


def test_a_score_below_the_layer_is_refused() -> None:
    net, x = nets.plain(), nets.images()
    for method, layer in ((ablation_cam, "relu2"), (grad_cam, "relu2")):
        with pytest.raises(ConvscopeError, match="the score does not depend on layer 'relu2'"):
            method(net, x, target="conv1:2", layer=layer)
