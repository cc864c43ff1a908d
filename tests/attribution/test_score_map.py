"""Score-CAM against its paper in a slow loop, and where its masks end: one channel, flat channels, one pixel."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import METHODS, score_cam
from convscope.attribution.score_map import map_masks, score_weights
from tests import nets, oracles
from tests.untouched import watch

EXACT = {"rtol": 0, "atol": 1e-11}
SIGNED: Any = {"relu": False}


def enlarged(one: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, pixel by pixel: output pixel i reads the map at (i + 1/2) h / H - 1/2, edges repeated."""
    out = torch.zeros(height, width, dtype=torch.float64)
    h, w = one.shape
    for i in range(height):
        for j in range(width):
            y, x = max((i + 0.5) * h / height - 0.5, 0.0), max((j + 0.5) * w / width - 0.5, 0.0)
            top, left = min(int(y), h - 1), min(int(x), w - 1)
            below, right, down, across = min(top + 1, h - 1), min(left + 1, w - 1), y - top, x - left
            upper = one[top, left] * (1 - across) + one[top, right] * across
            out[i, j] = upper * (1 - down) + (one[below, left] * (1 - across) + one[below, right] * across) * down
    return out


def replica(
    score: Callable[[Tensor], float], acts: Tensor, x: Tensor, *, relu: bool = True, baseline: float = 0.0
) -> Tensor:
    """Wang et al. 2020, eqs. 4 to 8, one image (1, c, H, W) and its ``acts`` (1, c, h, w); flat channels left out."""
    gains: dict[int, float] = {}
    for k in range(acts.shape[1]):
        if acts[0, k].max() == acts[0, k].min():
            continue
        up = enlarged(acts[0, k], x.shape[2], x.shape[3])
        gains[k] = score(x * ((up - up.min()) / (up.max() - up.min()))) - baseline
    total = sum(math.exp(gain) for gain in gains.values())
    values = torch.zeros(acts.shape[2:], dtype=torch.float64)
    for k, gain in gains.items():
        values += math.exp(gain) / total * acts[0, k]
    return values.clamp(min=0)[None] if relu else values[None]


def acts_of(net: nn.Module, x: Tensor, layer: str) -> Tensor:
    assert isinstance(net, nn.Sequential)
    return oracles.forward_by_hand(net, x)[[n for n, _ in net.named_children()].index(layer) + 1]


def score_of(net: nn.Module, target: int) -> Callable[[Tensor], float]:
    def score(x: Tensor) -> float:
        with torch.no_grad():
            return net(x.clone())[0, target].item()

    return score


# ---- the paper ----


@pytest.mark.parametrize(
    ("factory", "layers"),
    [
        (nets.plain, ["conv1", "relu1", "relu2"]),
        (nets.inplace_relu, ["conv1", "conv2"]),
        (nets.overlapping_pool, ["pool1"]),
        (nets.gap_linear, ["relu2"]),
        (nets.norm_dropout, ["norm1"]),
    ],
)
@pytest.mark.parametrize("target", [0, 3])
def test_it_is_the_papers_loop(factory: Callable[..., nn.Module], layers: list[str], target: int) -> None:
    net, x = factory(), nets.images(2, h=13, w=10)
    for layer in layers:
        for relu in (True, False):
            own = [
                replica(score_of(net, target), acts_of(net, x[n : n + 1], layer), x[n : n + 1], relu=relu)
                for n in range(2)
            ]
            found = score_cam(net, x, target=target, layer=layer, relu=relu)
            assert torch.allclose(found, torch.cat(own), **EXACT)


@pytest.mark.parametrize("factory", [nets.residual, nets.skip, nets.view_write, nets.writes_input, nets.no_grad])
def test_networks_that_are_no_row_of_layers_are_the_papers_loop(factory: Callable[..., nn.Module]) -> None:
    net, x, seen = factory(), nets.images(1), list[Tensor]()
    part = net.get_submodule("conv2")
    handle = part.register_forward_hook(lambda _m, _a, out: seen.append(out.detach().clone()))
    net(x.clone())
    handle.remove()
    expected = replica(score_of(net, 1), seen[0], x, relu=False)
    assert torch.allclose(score_cam(net, x, target=1, layer="conv2", **SIGNED), expected, **EXACT)


def test_the_papers_baseline_drops_out_of_the_softmax() -> None:
    """Eq. 4 subtracts the score of a baseline image: one number for all channels."""
    net, x = nets.plain(), nets.images(1)
    grey = score_of(net, 1)(torch.zeros_like(x))
    expected = replica(score_of(net, 1), acts_of(net, x, "relu1"), x, baseline=grey)
    assert abs(grey) > 1e-3
    assert torch.allclose(score_cam(net, x, target=1, layer="relu1"), expected, **EXACT)


def test_scores_of_any_size_have_a_softmax() -> None:
    """Closed form: 1,000,000 logits apart the best channel has all the weight; nothing overflows."""
    net, x = nets.plain(), nets.images(1)
    acts, score = acts_of(net, x, "relu1"), score_of(net, 1)
    masked = [score(x * map_masks(acts[0], (12, 12))[0][k]) for k in range(acts.shape[1])]
    best = max(range(len(masked)), key=masked.__getitem__)
    found = score_cam(net, x, target=lambda out: 1e9 * out[:, 1], layer="relu1")
    assert torch.allclose(found, acts[:, best].relu(), **EXACT)


# ---- masks ----


@pytest.mark.parametrize("size", [(12, 15), (4, 5), (3, 2), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masks_run_from_0_to_1_and_are_the_slow_enlargement(size: tuple[int, int], dtype: torch.dtype) -> None:
    maps = 100 * nets.images(1, 6, 4, 5)[0].to(dtype) - 30
    masks, uneven = map_masks(maps, size)
    for k in range(6):
        up = enlarged(maps[k].double(), *size)
        if size == (1, 1):  # what is enlarged to one pixel is flat
            assert not uneven[k]
            assert not masks[k].any()
            continue
        assert uneven[k]
        assert masks[k].min() == 0
        assert masks[k].max() == 1
        expected = (up - up.min()) / (up.max() - up.min())
        assert torch.allclose(masks[k].double(), expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_channel_is_no_mask_whatever_enlarging_makes_of_it(value: float, dtype: torch.dtype) -> None:
    """Rounding differs from pixel to pixel: stretched to [0, 1] it would be a pattern of nothing."""
    maps = torch.full((2, 7, 5), value, dtype=dtype)
    maps[1, 3, 2] += 1.0 + abs(value)
    masks, uneven = map_masks(maps, (223, 101))
    assert uneven.tolist() == [False, True]
    assert not masks[0].any()


def test_weights_are_a_softmax_over_the_masks_alone() -> None:
    scores = torch.tensor([1.0, 50.0, 2.0], dtype=torch.float64)
    found = score_weights(scores, torch.tensor([True, False, True]))
    share = math.exp(1) / (math.exp(1) + math.exp(2))
    assert torch.allclose(found, torch.tensor([share, 0.0, 1 - share], dtype=torch.float64), **EXACT)
    assert not score_weights(scores, torch.tensor([False] * 3)).any()


# ---- where it ends ----


def _with_flat_channels(*channels: int) -> nn.Module:
    net = nets.gap_linear()
    conv = net.get_submodule("conv2")
    for channel in channels:
        conv.weight.data[channel] = 0.0
        conv.bias.data[channel] = 0.1 + channel
    return watch(net)


@pytest.mark.parametrize("batch", [1, 4, 32])
def test_a_flat_channel_has_no_weight(batch: int) -> None:
    """Oracle: the paper's loop over the others; the flat ones' own scores would weigh like any other."""
    net, x = _with_flat_channels(0, 3), nets.images(1)
    acts = acts_of(net, x, "relu2")
    assert acts[0, 3].unique().numel() == 1
    found = score_cam(net, x, target=1, layer="relu2", batch=batch)
    assert found.isfinite().all()
    assert torch.allclose(found, replica(score_of(net, 1), acts, x), **EXACT)


def test_a_layer_of_flat_channels_gives_a_zero_map_and_the_table_says_why() -> None:
    net, x = nets.gap_linear(), nets.images(2)
    channels = range(net.get_submodule("conv2").out_channels)
    flat = _with_flat_channels(*channels)
    assert acts_of(flat, x, "relu2").all()
    assert score_cam(flat, x, target=1, layer="relu2").eq(0).all()
    assert score_cam(net, x[:, :, :2, :2], target=1, layer="relu2").eq(0).all()  # a map of one pixel is flat
    assert score_cam(net, x[:, :, :2, :2], target=1, layer="relu2").shape == (2, 1, 1)
    assert "flat" in METHODS["score-cam"].zero


def test_one_channel_has_all_the_weight() -> None:
    """Closed form: the softmax of one number is 1; the map is the channel."""
    net = _one_channel()
    x = nets.images(2)
    expected = acts_of(net, x, "conv1")[:, 0]
    assert torch.allclose(score_cam(net, x, target=1, layer="conv1", **SIGNED), expected, **EXACT)


@nets.hard_net
def _one_channel() -> nn.Module:
    parts = {"conv1": nn.Conv2d(3, 1, 3), "relu1": nn.ReLU(), "flatten": nn.Flatten(), "linear": nn.LazyLinear(5)}
    net = nn.Sequential()
    for name, part in parts.items():
        net.add_module(name, part)
    net(torch.zeros(1, 3, 12, 12))
    return net


def test_permuting_channels_changes_nothing() -> None:
    net, other, x = nets.gap_linear(), nets.gap_linear(), nets.images(2)
    order = torch.randperm(net.get_submodule("conv2").out_channels, generator=torch.Generator().manual_seed(3))
    conv, linear = other.get_submodule("conv2"), other.get_submodule("linear")
    conv.weight.data, conv.bias.data = conv.weight.data[order], conv.bias.data[order]
    linear.weight.data = linear.weight.data[:, order]
    watch(other)
    expected = score_cam(net, x, target=1, layer="relu2")
    assert torch.allclose(score_cam(other, x, target=1, layer="relu2", batch=3), expected, **EXACT)
