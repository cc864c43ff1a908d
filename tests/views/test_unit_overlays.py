"""Units over the photo. Oracles: w_ck mean(A_k) of a linear head; the network run with the unit set to zero by hand."""

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.render.overlay import overlay
from convscope.render.scale import Scale
from convscope.views.unit_overlays import units_on_photo
from tests import friendly, nets
from tests.nets.heads import backbone

PHOTO = friendly.photo()


def test_the_classes_of_a_unit_are_those_with_the_largest_weight() -> None:
    """GAP + linear: drop_c = w_ck mean(A_k), so the order is that of w_ck, where the unit is not silent."""
    net = friendly.network(nets.gap_linear)
    found = units_on_photo(net, PHOTO, "relu2")
    maps, weights = cs.features(net, PHOTO, "relu2").values, net.module.linear.weight.detach()
    alive = [k for k in range(8) if bool(maps[k].any())]
    assert sorted(found.units) == alive
    for place, k in enumerate(found.units):
        expected = weights[:, k] * maps[k].mean()
        torch.testing.assert_close(found.drops[place], expected, rtol=1e-4, atol=1e-6)
        best = [c for c in weights[:, k].argsort(descending=True).tolist() if weights[c, k] > 0][:3]
        assert [name for name, _ in found.classes[place]] == [net.class_name(c) for c in best]
        assert torch.equal(found.values[place], maps[k])


def test_units_come_with_the_largest_value_first_and_as_many_as_asked_for() -> None:
    net = friendly.network(nets.plain)
    maps = cs.features(net, PHOTO, "conv2").values
    order = sorted(range(8), key=lambda k: -float(maps[k].max()))
    assert list(units_on_photo(net, PHOTO, "conv2", most=3).units) == order[:3]
    assert units_on_photo(net, PHOTO, "conv2", [5, 0]).units == (5, 0)


@pytest.mark.parametrize("factory", [nets.plain, nets.inplace_relu, nets.skip])
def test_the_drop_is_that_of_the_logits_with_the_unit_at_zero(factory) -> None:
    net = friendly.network(factory, dtype=torch.float64)
    found = units_on_photo(net, PHOTO, "conv2", [2, 6], batch=1)
    x = net.input_of(PHOTO)
    for place, unit in enumerate(found.units):

        def off(_module, _args, output, unit=unit):
            output = output.clone()
            output[:, unit] = 0
            return output

        handle = net.module.conv2.register_forward_hook(off)
        with torch.no_grad():
            without = net.module(x)
        handle.remove()
        with torch.no_grad():
            expected = (net.module(x) - without)[0]
        torch.testing.assert_close(found.drops[place].double(), expected, rtol=1e-4, atol=1e-6)


def test_the_picture_has_each_map_over_the_photo_on_one_scale_and_names_the_classes() -> None:
    net = friendly.network(nets.gap_linear)
    found = units_on_photo(net, PHOTO, "relu2", most=2)
    page = np.asarray(found.picture(), int)
    shared = Scale(0.0, float(found.values.max()))
    expected = np.asarray(overlay(found.photo, found.values[0].numpy(), shared))
    # the middle of the tile, enlarged smoothly, comes near the middle of the overlay
    middle = expected[5:7, 5:7].reshape(-1, 3).mean(0)
    near = np.abs(page[:, : page.shape[1] // 2] - middle).max(axis=2) < 30
    assert near.any()
    assert all(name in found.facts()[f"unit {found.units[0]}"] for name, _ in found.classes[0])
    assert "all on one scale" in found.subtitle
    own = units_on_photo(net, PHOTO, "relu2", most=2, own_scale=True)
    assert "each on its own scale" in own.subtitle
    assert own.picture().size != found.picture().size  # a colour bar each


def test_a_unit_that_is_silent_speaks_for_nothing() -> None:
    net = friendly.network(nets.gap_linear)
    before = net.module.conv2.bias.detach().clone()
    with torch.no_grad():
        net.module.conv2.bias[3] = -1e3
    found, every = units_on_photo(net, PHOTO, "relu2", [3, 1]), units_on_photo(net, PHOTO, "relu2")
    with torch.no_grad():
        net.module.conv2.bias.copy_(before)
    assert float(found.drops[0].abs().max()) < 1e-6  # a batch of another size rounds otherwise
    assert found.classes[0] == ()
    assert found.facts()["unit 3"] == "no logit falls"
    found.picture()
    assert 3 not in every.units


def test_raw_values_and_all_drops_are_saved(tmp_path) -> None:
    found = units_on_photo(friendly.network(), PHOTO, "relu2", [1, 2])
    with np.load(found.save(tmp_path / "o.npz")) as saved:
        assert saved["drops"].shape == (2, 5)
        np.testing.assert_array_equal(saved["values"], found.values.numpy())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "relu2", "units": [8]}, r"unit 8 was asked for, but layer 'relu2' has 8 units"),
        ({"layer": "linear"}, "not maps"),
        ({"layer": "relu2", "most": 0}, "most=0: show at least one unit"),
    ],
)
def test_what_is_not_there_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        units_on_photo(friendly.network(), PHOTO, **options)


def test_a_network_without_logits_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="logits"):
        units_on_photo(friendly.network(backbone), PHOTO, "stage1")
