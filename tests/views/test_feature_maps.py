"""Feature maps. Oracles: a plain hook; colours of constant maps read back from the drawn grid; scales by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.render.colour import colourise
from convscope.render.scale import CLIP_PERCENTILE, Scale, scale_of
from convscope.results import Shown
from tests import friendly, nets
from tests.nets.heads import tokens

PHOTO = friendly.photo()


def hooked(net: cs.Network, layer: str) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    handle = net.module.get_submodule(layer).register_forward_hook(lambda *a: seen.append(a[2].detach().clone()))
    with torch.no_grad():
        net.module(net.input_of(PHOTO))
    handle.remove()
    return seen[0][0]


def colour_at(page: Image.Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(page.getpixel((x, y)))


@pytest.mark.parametrize("factory", [nets.gap_linear, nets.inplace_relu, nets.functional_relu, nets.residual])
def test_values_are_the_layers_output_raw(factory) -> None:
    net = friendly.network(factory)
    found = cs.features(net, PHOTO, "conv2")
    assert torch.equal(found.values, hooked(net, "conv2"))
    assert (found.layer, found.count, found.units) == ("conv2", len(found.values), tuple(range(len(found.values))))
    assert found.values.dtype == torch.float32


def test_none_is_the_last_map_before_the_head_and_the_result_says_so() -> None:
    net = friendly.network()
    found = cs.features(net, PHOTO)
    assert found.layer == "relu2"
    assert torch.equal(found.values, hooked(net, "relu2"))
    assert "relu2" in found.title


def test_units_come_in_the_order_asked_for_and_those_of_the_largest_value_first_where_sorted() -> None:
    net = friendly.network()
    every = hooked(net, "conv2")
    some = cs.features(net, PHOTO, "conv2", [7, 2])
    assert some.units == (7, 2)
    assert torch.equal(some.values, every[[7, 2]])
    for sort, measure in (("max", every.amax((1, 2))), ("mean", every.mean((1, 2)))):
        ordered = cs.features(net, PHOTO, "conv2", sort=sort)
        assert list(ordered.units) == sorted(range(8), key=lambda u: -float(measure[u]))
        assert torch.equal(ordered.values, every[list(ordered.units)])
    assert cs.features(net, PHOTO, "conv2", [1, 5, 3], sort="max").units == tuple(
        sorted([1, 5, 3], key=lambda u: -float(every[u].max()))
    )


def test_the_units_of_tokens_are_their_channels_laid_out_as_the_image() -> None:
    """4 x 4 patches of a 24 x 24 image: 36 tokens, row by row."""
    net = friendly.network(tokens, preprocess=replace(friendly.PREPROCESS, size=24, crop=24))
    found = cs.features(net, PHOTO, "mix")
    every = hooked(net, "mix")
    assert every.shape == (len(every), found.count)
    side = found.values.shape[1]
    assert side * side == len(every)
    for y, x in ((0, 0), (0, 1), (2, 1)):
        assert torch.equal(found.values[:, y, x], every[y * side + x])


def test_a_half_precision_network_gives_float32() -> None:
    net = friendly.network(dtype=torch.bfloat16)
    assert torch.equal(cs.features(net, PHOTO, "conv1").values, hooked(net, "conv1").float())


# ---- drawn ---------------------------------------------------------------------------------------------------


def constant(*levels: float, own_scale: bool = False) -> cs.FeatureMaps:
    """One 4 x 4 map a level, as drawn: the first corner pixel of a tile is its colour."""
    found = cs.features(friendly.network(), PHOTO, "conv2")
    values = torch.tensor(levels)[:, None, None].expand(-1, 4, 4).clone()
    return replace(found, values=values, units=tuple(range(len(levels))), count=len(levels), own_scale=own_scale)


def tiles(page: Image.Image, count: int, side: int = 256) -> list[tuple[int, ...]]:
    """The colour in the middle of each of the first tiles, whose places are those of a grid of 128 points."""
    pixels = np.asarray(page.convert("RGB"))
    left = 56 + side // 2
    top = next(y for y in range(260, pixels.shape[0]) if len({tuple(p) for p in pixels[y, 60:300]}) == 1
               and tuple(pixels[y, 60]) != (255, 255, 255))  # fmt: skip
    return [tuple(int(c) for c in pixels[top + 20, left + k * (side + 20)]) for k in range(count)]


def test_all_share_one_scale_so_that_equal_values_have_equal_colours() -> None:
    found = constant(1.0, 4.0, 2.0, 1.0)
    expected = colourise(np.array([[1.0, 4.0, 2.0, 1.0]]), Scale(0.0, 4.0))[0]
    assert tiles(found.picture(), 4) == [tuple(map(int, c)) for c in expected]
    assert "all on one scale" in found.subtitle


def test_negative_values_make_it_diverge_from_zero() -> None:
    found = constant(-4.0, 2.0)
    expected = colourise(np.array([[-4.0, 2.0]]), Scale(-4.0, 4.0, signed=True))[0]
    assert tiles(found.picture(), 2) == [tuple(map(int, c)) for c in expected]


def test_a_scale_of_its_own_is_said_and_each_reaches_the_end_of_its_colours() -> None:
    found = constant(1.0, 4.0, 2.0, own_scale=True)
    end = tuple(map(int, colourise(np.array([[1.0]]), Scale(0.0, 1.0))[0, 0]))
    assert tiles(found.picture(), 3) == [end] * 3
    assert "each on its own scale" in found.subtitle
    both = constant(-1.0, 2.0, own_scale=True)  # signed for all where one is: one family of colours
    expected = [colourise(np.array([[v]]), Scale(-1.0, 1.0, signed=True))[0, 0] for v in (-1.0, 1.0)]
    assert tiles(both.picture(), 2) == [tuple(map(int, c)) for c in expected]


@pytest.mark.parametrize("own_scale", [False, True])
def test_a_map_of_zeros_is_an_empty_field_and_is_counted(own_scale: bool) -> None:
    found = constant(2.0, 0.0, 2.0, own_scale=own_scale)
    assert found.zero == (1,)
    assert "1 zero everywhere" in found.subtitle
    assert found.facts()["zero everywhere"] == "unit 1"
    assert tiles(found.picture(), 3)[1] == (0xE9, 0xEC, 0xEF)


def test_the_picture_of_a_real_layer_has_tile_k_of_unit_k() -> None:
    """Each tile's pixels, read back from the drawn grid, are the colours of that unit's map."""
    found = cs.features(friendly.network(), PHOTO, "conv2")
    page = np.asarray(found.picture())
    scale = scale_of(found.values.numpy(), percentile=CLIP_PERCENTILE)  # one for all units
    _, h, w = found.values.shape
    times = round(256 / w)
    colours = [colourise(m.numpy(), scale) for m in found.values]
    enlarged = [c.repeat(times, 0).repeat(times, 1) for c in colours]
    top = next(y for y in range(200, 400) if np.array_equal(page[y : y + h * times, 56 : 56 + w * times], enlarged[0]))
    for k, tile in enumerate(enlarged):
        left = 56 + k * (w * times + 20)
        np.testing.assert_array_equal(page[top : top + h * times, left : left + w * times], tile)


def test_it_saves_raw_values_and_says_what_it_is(tmp_path) -> None:
    found = cs.features(friendly.network(), PHOTO, "conv2", [3, 1])
    assert isinstance(found, Shown)
    with np.load(found.save(tmp_path / "maps.npz")) as saved:
        np.testing.assert_array_equal(saved["values"], found.values.numpy())
        assert saved["units"].tolist() == [3, 1]
    page = found.save(tmp_path / "maps.html").read_text()
    assert "2 of 8 maps of conv2" in page
    assert found.as_json() == {"layer": "conv2", "units": [3, 1], "of": 8, "shape": [2, 6, 6], "zero": []}


# ---- refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("conv3",), "no layer 'conv3' in Sequential; did you mean 'conv"),
        (("linear",), r"'linear' gives \(1, 5\), not maps"),
        (("conv2", [8]), r"unit 8 was asked for, but layer 'conv2' has 8 units \(0 to 7\)"),
        (("conv2", []), "no unit of layer 'conv2' was asked for"),
    ],
)
def test_what_is_not_there_is_refused(args: tuple, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        cs.features(friendly.network(), PHOTO, *args)


def test_an_unknown_order_and_a_photo_that_is_none_are_refused(tmp_path) -> None:
    with pytest.raises(ConvscopeError, match="sort='maximum' is none of max, mean"):
        cs.features(friendly.network(), PHOTO, sort="maximum")
    (tmp_path / "cat.jpg").write_text("no picture")
    with pytest.raises(ConvscopeError, match=r"cat\.jpg"):
        cs.features(friendly.network(), tmp_path / "cat.jpg")


def test_maps_that_are_not_finite_are_refused_when_drawn_and_kept_as_values() -> None:
    net = friendly.network()
    nan = nn.Conv2d.forward

    class Broken(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nan(self, x) * float("nan")

    net.module.conv2.__class__, before = Broken, net.module.conv2.__class__
    try:
        found = cs.features(net, PHOTO, "conv2")
    finally:
        net.module.conv2.__class__ = before
    assert bool(found.values.isnan().all())
    with pytest.raises(ConvscopeError, match="not finite"):
        found.picture()
