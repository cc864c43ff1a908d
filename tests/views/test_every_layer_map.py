"""One figure of every layer. Oracles: lists by hand, a plain hook, what is printed of each tile."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from convscope.errors import ConvscopeError
from convscope.network.maps_of_layers import LayerMap
from convscope.render.colour import colourise
from convscope.render.scale import scale_of
from convscope.views.every_layer_map import every_layer
from tests import friendly, nets

PHOTO = friendly.photo()


def test_every_layer_is_there_in_order_with_its_map_and_the_rest_is_named() -> None:
    net = friendly.network(nets.plain)
    found = every_layer(net, PHOTO)
    assert [one.layer for one in found.maps] == ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2"]
    with torch.no_grad():
        expected = net.module[:3](net.input_of(PHOTO))[0].mean(0)
    torch.testing.assert_close(found.maps[2].values, expected)
    assert found.not_drawn == (
        "Not drawn: squash (pools to a fixed size); flatten (gives (1, 32), not maps (b, c, h, w)); linear1, relu3 "
        "(gives (1, 16), not maps (b, c, h, w)); linear2 (gives (1, 5), not maps (b, c, h, w))."
    )
    assert set(found.arrays()) == {one.layer for one in found.maps}
    assert found.as_json()["maps"][3] == {"layer": "conv2", "type": "Conv2d", "shape": [8, 6, 6], "unit": None}


@pytest.mark.parametrize(
    ("reading", "words"),
    [("mean", "The mean over the units"), ("strongest", "The unit with the largest value"), (3, "Unit 3 of each")],
)
def test_the_figure_says_what_it_shows_and_has_a_tile_a_layer(reading, words: str) -> None:
    found = every_layer(friendly.network(nets.plain), PHOTO, reading)
    assert found.shown.startswith(words)
    assert {one.unit is None for one in found.maps} == {reading == "mean"}
    page = np.asarray(found.picture(), int)
    wanted = [_middles(one) for one in found.maps]
    left, step = 56, 224 + 2 * (112 // 12)

    def at(k: int, top: int) -> np.ndarray:
        side, (h, w) = 224, wanted[k].shape[:2]
        ys, xs = ((np.arange(n) + 0.5) * side / n for n in (h, w))
        return page[np.ix_((top + ys).astype(int), (left + k * step + xs).astype(int))]

    def fits(k: int, top: int) -> bool:
        return bool(np.abs(at(k, top) - wanted[k]).max() <= 1)

    top = next(y for y in range(200, 400) if fits(0, y))
    assert all(fits(k, top) for k in range(6))


def _middles(one: LayerMap) -> np.ndarray:
    """The colours that the middles of the map's pixels should have: each map on its own scale."""
    values = one.values.numpy()
    return colourise(values, scale_of(values)).astype(int)


def test_a_network_of_functions_says_where_they_are() -> None:
    found = every_layer(friendly.network(nets.functional_relu), PHOTO)
    assert [one.layer for one in found.maps] == ["conv1", "pool1", "conv2", "pool2"]
    assert "F.relu" in found.facts()["functions"]


def test_of_many_layers_without_a_map_the_figure_names_the_first_and_the_page_all() -> None:
    found = every_layer(friendly.network(), PHOTO)
    many = replace(found, left_out={f"fc{i}": "gives (1, 4)" for i in range(20)} | {"pool": "pools to a fixed size"})
    names = ", ".join(f"fc{i}" for i in range(6))
    assert many.not_drawn == f"Not drawn: {names}, 14 more (gives (1, 4)); pool (pools to a fixed size)."
    assert many.facts()["not drawn: fc19"] == "gives (1, 4)"


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ("median", "'median' is neither 'mean', 'strongest' nor a unit's number"),
        (-1, "-1 is neither"),
        (True, "True is neither"),
        (99, "no layer of a small net has such a map; conv1 has 6 units, so none numbered 99"),
    ],
)
def test_others_are_refused(reading, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        every_layer(friendly.network(), PHOTO, reading)


def test_a_network_without_maps_is_refused() -> None:
    with pytest.raises(ConvscopeError, match=r"no layer of a small net has such a map; \S+ gives \(1, "):
        every_layer(friendly.network(nets.mlp), PHOTO)


def test_a_network_that_does_not_take_the_photo_is_refused() -> None:
    """Its linear layer fits 12 x 12 only."""
    wide = replace(friendly.PREPROCESS, size=20, crop=20)
    with pytest.raises(ConvscopeError, match="a small net cannot take an input of 3 x 20 x 20"):
        every_layer(friendly.network(nets.mlp, preprocess=wide), PHOTO)
