"""Passes of one's own over photos. Oracle: each photo by itself, through a plain hook."""

import numpy as np
import pytest
import torch
from torch import nn

from convscope.dataset import photo_batches
from convscope.dataset.photo_batches import FirstTold, photo_passes
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from tests import nets
from tests.dataset.small_survey import Photos, Picky, network, noise
from tests.untouched import watch

LAYERS = ("conv1", "relu2")


def shown(net: Network, source: Photos, layers=LAYERS, **options) -> tuple[dict[str, dict], dict[str, str]]:
    """Photo -> layer -> map, and what was left out."""
    skipped: dict[str, str] = {}
    options = {"batch": 4, "skipped": skipped.__setitem__} | options
    found: dict[str, dict] = {}
    for photos, maps in photo_passes(net, source, layers, **options):
        assert photos.numbers == tuple(list(source.files).index(name) for name in photos.names)
        assert all(len(each) == len(photos.names) <= 4 for each in maps.values())
        found |= {name: {layer: maps[layer][i].numpy() for layer in layers} for i, name in enumerate(photos.names)}
    return found, skipped


def alone(net: Network, source: Photos, name: str, layer: str) -> np.ndarray:
    seen = []
    handle = net.module.get_submodule(layer).register_forward_hook(lambda *a: seen.append(a[2][0].clone().numpy()))
    with torch.no_grad():
        net.module(net.input_of(source.read(name).image))
    handle.remove()
    return seen[0]


def are_those_of_each_alone(found: dict[str, dict], net: Network, source: Photos) -> None:
    for name, maps in found.items():
        for layer, values in maps.items():
            np.testing.assert_allclose(values, alone(net, source, name, layer), rtol=2e-5, atol=2e-5)


def test_photos_that_cannot_be_read_or_are_not_taken_are_left_out_alone():
    net = network(nets.plain(dtype=torch.float32), fixed=False)
    tiny = noise(1, sizes=[(1, 1)])["000000.png"]
    source = Photos(noise(9) | {"000002.png": tiny, "000003.png": tiny, "000005.png": b"no picture"})
    found, skipped = shown(net, source)
    assert set(skipped) == {"000002.png", "000003.png", "000005.png"}
    assert "tiny cannot take an input of 3 x 1 x 1" in skipped["000003.png"]
    assert set(found) == set(source.files) - set(skipped)
    are_those_of_each_alone(found, net, source)


def test_one_photo_does_not_drag_its_batch_along():
    net, source = network(watch(Picky()), fixed=False, classes=()), Photos(noise(16))
    found, skipped = shown(net, source, ["maps"])
    brighter = {name for name in source.files if net.input_of(source.read(name).image).mean() > 0}
    assert set(skipped) == brighter
    assert 0 < len(brighter) < 16
    assert list(found) == [name for name in source.files if name not in brighter]
    are_those_of_each_alone(found, net, source)


@pytest.mark.parametrize("room", [1, 3])
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_out_of_memory_gives_smaller_batches_with_the_same_values(monkeypatch, room, error):
    net, source = network(nets.inplace_relu(dtype=torch.float32)), Photos(noise(10))
    plain, sizes = photo_batches.outputs_of, []

    def cramped(model, x, *layers):
        if len(x) > room:
            raise error
        sizes.append(len(x))
        return plain(model, x, *layers)

    monkeypatch.setattr(photo_batches, "outputs_of", cramped)
    found, skipped = shown(net, source, ["conv1"])
    assert skipped == {}
    assert max(sizes) == {1: 1, 3: 2}[room]
    assert list(found) == list(source.files)
    expected, _ = shown(net, source, ["conv1"], batch=1)
    for name in source.files:
        np.testing.assert_allclose(found[name]["conv1"], expected[name]["conv1"], rtol=2e-5, atol=2e-5)


def test_one_photo_for_which_there_is_no_room_is_an_error():
    class Hungry(nn.Module):
        def forward(self, x):
            raise MemoryError

    net = network(watch(nn.Sequential(Hungry(), nn.ReLU())), classes=())
    with pytest.raises(ConvscopeError, match=r"not enough memory for tiny on one image of 3 x 12 x 12; .*--size"):
        shown(net, Photos(noise(5)), ["1"])


def test_a_transform_that_fails_on_one_photo_and_one_without_memory():
    source, usual = Photos(noise(6)), network(nets.plain(dtype=torch.float32))
    fourth = source.read("000004.png").image

    def transform(photo, error):
        if photo.tobytes() == fourth.tobytes():
            raise error
        return usual.preprocess(photo)

    net = Network(usual.module, lambda photo: transform(photo, IndexError("too low")), usual.classes, "tiny")
    found, skipped = shown(net, source)
    assert skipped == {"000004.png": "the network's transform failed: too low"}
    assert len(found) == 5
    net = Network(usual.module, lambda photo: transform(photo, MemoryError()), usual.classes, "tiny")
    with pytest.raises(ConvscopeError, match=r"not enough memory to read 000004.png"):
        shown(net, source)


def test_a_network_that_takes_none_of_its_own_size_is_an_error():
    with pytest.raises(ConvscopeError, match="tiny cannot take an input of 3 x 12 x 12"):
        shown(network(nets.four_channel(dtype=torch.float32)), Photos(noise(3)))


def test_where_nothing_is_left_the_first_reason_is_said():
    net, source, skipped = network(nets.plain(dtype=torch.float32), fixed=False), Photos(noise(3, sizes=[(1, 1)])), {}
    told = FirstTold(skipped.__setitem__)
    assert shown(net, source, skipped=told)[0] == {}
    assert set(skipped) == set(source.files)
    said = str(told.nothing_left(source))
    assert said.startswith("none of the 3 photos can be used; the first, 000000.png: tiny cannot take an input of")


def test_an_interruption_ends_it_at_once():
    class Interrupted(Photos):
        reads = 0

        def read(self, name):
            self.reads += 1
            if name == "000002.png":
                raise KeyboardInterrupt
            return super().read(name)

    source = Interrupted(noise(6))
    with pytest.raises(KeyboardInterrupt):
        shown(network(nets.plain(dtype=torch.float32)), source)
    assert source.reads == 3
