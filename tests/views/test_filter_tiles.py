"""Filters as pictures. Oracles: the module's weight; (w - min) / (max - min) by hand on known filters."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.views import filter_tiles
from tests import friendly, nets
from tests.untouched import watch


def holding(weight: Tensor, **options) -> cs.Network:
    """A network whose one convolution has that weight."""
    units, channels, kh, kw = weight.shape
    groups = options.pop("groups", 1)
    with torch.random.fork_rng(devices=[]):
        conv = nn.Conv2d(channels * groups, units, (kh, kw), groups=groups)
    conv.weight.data = weight.clone()
    return cs.Network(watch(nn.Sequential(conv).eval()), friendly.PREPROCESS, (), "known filters")


def drawn(found: cs.FilterTiles, expected: np.ndarray) -> bool:
    """Whether the tile is in the picture, each weight a crisp square, save the line round it."""
    page = np.asarray(found.picture())
    h, w = expected.shape[:2]
    starts = np.argwhere((page == expected[0, 0]).all(axis=2))
    for y, x in starts:
        x1 = x
        while x1 < page.shape[1] and (page[y, x1] == expected[0, 0]).all():
            x1 += 1
        times = x1 - x + 2  # the outline covers two pixels of the first square
        tile = page[y - 2 : y - 2 + h * times, x - 2 : x - 2 + w * times]
        wanted = expected.repeat(times, 0).repeat(times, 1)
        if tile.shape == wanted.shape and np.array_equal(tile[2:-2, 2:-2], wanted[2:-2, 2:-2]):
            return True
    return False


def scaled(weight: Tensor, low: float, high: float) -> np.ndarray:
    """By hand: 255 (w - min) / (max - min), rounded."""
    share = (weight.double().numpy() - low) / (high - low)
    return np.rint(255 * share).astype(np.uint8)


# ---- values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [nets.gap_linear, nets.strided, nets.grey, nets.four_channel])
def test_values_are_the_weight_raw_and_none_is_the_first_layer(factory) -> None:
    net = friendly.network(factory)
    first, second = cs.filters(net), cs.filters(net, "conv2")
    assert first.layer == "conv1"
    assert torch.equal(first.values, net.module.conv1.weight)
    assert torch.equal(second.values, net.module.conv2.weight)


def test_units_and_channels_come_in_the_order_asked_for() -> None:
    net = friendly.network()
    found = cs.filters(net, "conv2", [7, 0], [5, 1, 2])
    assert torch.equal(found.values, net.module.conv2.weight[[7, 0]][:, [5, 1, 2]])
    assert (found.units, found.channels, found.count, found.inputs) == ((7, 0), (5, 1, 2), 8, 6)


# ---- scales --------------------------------------------------------------------------------------------------

KNOWN = torch.tensor([0.0, 1.0, 2.0, 3.0, -1.0, 5.0, 4.0, 2.0]).reshape(2, 1, 2, 2)


@pytest.mark.parametrize("own_scale", [False, True])
def test_grey_filters_are_scaled_over_the_layer_or_each_over_itself(own_scale: bool) -> None:
    found = cs.filters(holding(KNOWN), own_scale=own_scale)
    for unit, ends in enumerate([(0.0, 3.0), (-1.0, 5.0)] if own_scale else [(-1.0, 5.0)] * 2):
        grey = scaled(KNOWN[unit, 0], *ends)[..., None].repeat(3, 2)
        assert drawn(found, grey), unit
    assert ("own scale" in found.subtitle) == own_scale


@pytest.mark.parametrize("own_scale", [False, True])
def test_three_channels_are_colours_and_all_of_them_share_the_scale(own_scale: bool) -> None:
    weight = torch.arange(24.0).reshape(2, 3, 2, 2).flip(3) / 7
    found = cs.filters(holding(weight), own_scale=own_scale)
    assert found.look == "colour"
    for unit in (0, 1):
        part = weight[unit] if own_scale else weight
        colours = scaled(weight[unit].permute(1, 2, 0), float(part.min()), float(part.max()))
        assert drawn(found, colours), unit
    assert "red, green, blue" in found.subtitle


def test_the_scale_is_that_of_the_layer_also_where_a_part_of_it_is_shown() -> None:
    found = cs.filters(holding(KNOWN), units=[0])
    assert drawn(found, scaled(KNOWN[0, 0], -1.0, 5.0)[..., None].repeat(3, 2))
    own = cs.filters(holding(torch.cat([KNOWN] * 4, 1)), units=[1], channels=[0, 1], own_scale=True)
    assert [(s.low, s.high) for s in own.scales] == [(-1.0, 5.0)]


def test_a_deeper_layer_has_a_row_a_unit_and_a_column_a_channel() -> None:
    """Constant kernels of their own grey: the place of each is that of its unit and channel."""
    weight = torch.arange(12.0).reshape(3, 4, 1, 1).expand(3, 4, 2, 2)
    page = np.asarray(cs.filters(holding(weight)).picture())[:, :, 0]
    greys = np.rint(255 * np.arange(12) / 11).astype(int).reshape(3, 4)[:, 1:3]  # not black or white
    middles = [[np.argwhere(page[:-220] == g).mean(0) if (page == g).any() else None for g in row] for row in greys]
    for row in middles[1:2]:
        assert row[0][1] < row[1][1]
        assert abs(row[0][0] - row[1][0]) < 2
    assert middles[0][0][0] < middles[1][0][0] < middles[2][0][0]
    assert abs(middles[0][0][1] - middles[2][0][1]) < 2


def test_1x1_filters_are_one_matrix_of_units_and_channels() -> None:
    weight = torch.randn(20, 30, 1, 1, generator=torch.Generator().manual_seed(0))
    found = cs.filters(holding(weight))
    assert found.look == "matrix"
    page = np.asarray(found.picture())
    expected = scaled(weight[:, :, 0, 0], float(weight.min()), float(weight.max()))
    enlarged = expected.repeat(32, 0).repeat(32, 1)
    left = 56 + 2 * 30 + 24
    top = next(y for y in range(page.shape[0] - 640) if np.array_equal(page[y, left : left + 960, 0], enlarged[0]))
    np.testing.assert_array_equal(page[top : top + 640, left : left + 960, 0], enlarged)


def test_depthwise_filters_are_a_grey_tile_each() -> None:
    found = cs.filters(holding(KNOWN, groups=2))
    assert (found.look, found.groups) == ("grey", 2)
    assert "in 2 groups" in found.subtitle
    three = cs.filters(holding(torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)), groups=2))
    assert three.look == "tiles"  # of six channels: they are no colours


def test_a_layer_of_one_value_is_a_field_that_says_it() -> None:
    found = cs.filters(holding(torch.full((2, 1, 3, 3), 0.25)))
    assert filter_tiles._kernel(found.values[0].numpy(), found.scales[0]) == "all 0.25"
    found.picture()
    mixed = torch.cat([torch.zeros(1, 1, 3, 3), torch.arange(9.0).reshape(1, 1, 3, 3)])
    assert filter_tiles._kernel(mixed[:1, 0].numpy(), cs.filters(holding(mixed), own_scale=True).scales[0]) == "all 0"


# ---- limits --------------------------------------------------------------------------------------------------


def wide(units: int = 40, channels: int = 20) -> cs.Network:
    return holding(torch.rand(units, channels, 3, 3, generator=torch.Generator().manual_seed(0)))


def test_the_first_sixteen_are_drawn_and_the_picture_says_what_is_not_and_how_to_see_it() -> None:
    found = cs.filters(wide())
    assert found.drawn == (16, 16)
    assert found.values.shape[:2] == (40, 20)
    assert "units 0 to 15, input channels 0 to 15" in found.subtitle
    assert "not drawn: 24 more units (--units) and 4 more input channels (--channels)" in found.subtitle
    fewer = cs.filters(wide(), channels=[0, 1])
    assert fewer.drawn == (16, 2)
    assert fewer.subtitle.endswith("not drawn: 24 more units (--units)")


def test_what_is_named_is_drawn_all_of_it() -> None:
    assert cs.filters(wide(), units=range(40), channels=range(20)).drawn == (40, 20)
    assert cs.filters(wide(), units=range(40)).drawn == (40, 16)
    assert "not drawn" not in cs.filters(wide(), units=range(40), channels=range(20)).subtitle


def test_more_tiles_than_can_be_drawn_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_tiles, "MOST_TILES", 100)
    with pytest.raises(ConvscopeError, match="20 units x 16 input channels are more than 100 tiles; name fewer"):
        cs.filters(wide(), units=range(20))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("conv9",), "no layer 'conv9'; did you mean|no layer 'conv9' in"),
        (("relu1",), r"'relu1' \(ReLU\) has no filters"),
        (("linear",), r"'linear' \(Linear\) has no filters, its weight is 5 x 8; layers with filters are conv1, conv2"),
        (("conv2", [8]), r"unit 8 was asked for, but layer 'conv2' has 8 units \(0 to 7\)"),
        (("conv2", None, [6]), r"input channel 6 was asked for, but layer 'conv2' has 6 input channels"),
    ],
)
def test_what_is_not_there_is_refused(args: tuple, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        cs.filters(friendly.network(), *args)


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ConvscopeError, match="finite"):
        cs.filters(holding(torch.full((2, 1, 2, 2), float("nan"))))


def test_it_says_what_it_is_and_needs_no_photo(tmp_path) -> None:
    found = cs.filters(friendly.network(), "conv2", [1])
    assert found.stamp.data_hash == ""
    assert "data" not in found.stamp.line()
    with np.load(found.save(tmp_path / "f.npz")) as saved:
        np.testing.assert_array_equal(saved["values"], found.values.numpy())
        assert saved["units"].tolist() == [1]
    assert "1 of 8 filters of conv2" in found.save(tmp_path / "f.html").read_text()
    assert found.as_json()["of"] == [8, 6]
    assert replace(found, units=(3,)).title == "1 of 8 filters of conv2"
