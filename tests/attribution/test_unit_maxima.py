"""The strongest activation of each unit. Oracle: the maximum of the whole record, which is kept nowhere."""

import pytest
import torch

from convscope.attribution.unit_values import UnitMaxima, layer_outputs
from convscope.errors import ConvscopeError
from tests import nets


def test_maxima_are_those_of_all_images_at_once_in_whatever_batches() -> None:
    net, x = nets.plain(), nets.images(5)
    layers = ["conv1", "relu2", "linear1"]
    whole = layer_outputs(net, x, layers)
    for sizes in ([5], [2, 2, 1], [1] * 5):
        largest = UnitMaxima(net, layers)
        for part in x.split(sizes):
            largest.update(part)
        for layer, found in largest.compute().items():
            wanted = whole[layer].movedim(1, 0).flatten(1).amax(1).float()
            assert torch.allclose(found, wanted, rtol=1e-6, atol=0)


def test_nan_is_no_activation() -> None:
    net, x = nets.plain(), nets.images(3)
    x[1, 0, 2, 2] = torch.nan
    largest = UnitMaxima(net, ["conv1"])
    largest.update(x)
    found = largest.compute()["conv1"]
    said = layer_outputs(net, x, ["conv1"])["conv1"]
    assert bool(said.isnan().any())
    assert torch.equal(found, said.nan_to_num(-torch.inf).movedim(1, 0).flatten(1).amax(1).float())


def test_of_no_image_it_is_not_known() -> None:
    with pytest.raises(ConvscopeError, match="over no image is not known"):
        UnitMaxima(nets.plain(), ["conv1"]).compute()
