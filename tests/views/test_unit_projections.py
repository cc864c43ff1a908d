"""Units beside their deconvnet pictures. Oracles: the deconvnet called for one unit; the transposed filter by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import convscope as cs
from convscope.attribution import deconvnet
from convscope.errors import ConvscopeError
from convscope.views.unit_projections import units_projected
from tests import friendly, nets

PHOTO = friendly.photo()


@pytest.mark.parametrize("factory", [nets.gap_linear, nets.inplace_relu, nets.overlapping_pool])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_each_picture_is_the_deconvnet_of_that_units_whole_map(factory, batch: int) -> None:
    net = friendly.network(factory, dtype=torch.float64)
    found = units_projected(net, PHOTO, "conv2", [4, 0, 7], batch=batch)
    assert torch.equal(found.values, cs.features(net, PHOTO, "conv2", [4, 0, 7]).values)
    for place, unit in enumerate(found.units):
        expected = deconvnet(net.module, net.input_of(PHOTO), layer="conv2", target=unit)[0].float()
        torch.testing.assert_close(found.projections[place], expected, rtol=1e-5, atol=1e-7)


def test_from_the_first_layer_it_is_the_rectified_map_through_the_transposed_filter() -> None:
    net = friendly.network(dtype=torch.float64)
    found = units_projected(net, PHOTO, "conv1", [2])
    seed = torch.zeros(1, 6, 12, 12, dtype=torch.float64)
    seed[0, 2] = cs.features(net, PHOTO, "conv1").values[2].double().relu()
    expected = F.conv_transpose2d(seed, net.module.conv1.weight.detach(), padding=1)[0]
    torch.testing.assert_close(found.projections[0].double(), expected, rtol=1e-4, atol=1e-5)


def test_none_are_the_strongest_units_of_the_last_map() -> None:
    net = friendly.network()
    maps = cs.features(net, PHOTO).values
    found = units_projected(net, PHOTO, most=2)
    assert found.layer == "relu2"
    assert list(found.units) == sorted(range(8), key=lambda k: -float(maps[k].max()))[:2]


def test_each_pair_stands_side_by_side_and_the_scales_are_said() -> None:
    found = units_projected(friendly.network(), PHOTO, "conv2", [0, 1])
    assert "all on one scale" in found.subtitle
    assert found.picture().width > 4 * 330
    assert found.facts()["layer"] == "conv2"


def test_a_picture_of_zeros_says_so(tmp_path) -> None:
    net = friendly.network()
    with torch.no_grad():
        before = net.module.conv2.bias[3].clone()
        net.module.conv2.bias[3] = -1e3
    found = units_projected(net, PHOTO, "conv2", [3, 1])
    with torch.no_grad():
        net.module.conv2.bias[3] = before
    assert not bool(found.projections[0].any())
    assert found.facts()["zero everywhere"] == "unit 3"
    with np.load(found.save(tmp_path / "p.npz")) as saved:
        assert saved["projections"].shape == (2, 3, 12, 12)
    found.picture()


def test_other_nonlinearities_are_refused_unless_the_caller_says_partial() -> None:
    net = friendly.network(nets.hardswish_mix)
    layer = "3"  # the ReLU above the Hardswish
    with pytest.raises(ConvscopeError, match="partial=True"):
        units_projected(net, PHOTO, layer)
    assert units_projected(net, PHOTO, layer, partial=True).values.ndim == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "conv2", "units": [8]}, "unit 8 was asked for"),
        ({"layer": "linear"}, "not maps"),
        ({"layer": "conv2", "batch": 0}, "batch=0"),
    ],
)
def test_what_is_not_there_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        units_projected(friendly.network(), PHOTO, **options)
