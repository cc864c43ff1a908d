"""Maps of one layer and of all. Oracles: a plain hook, hand-written lists of layers, VGG16's own module list."""

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.maps_of_layers import map_of_every_layer, maps_of_layer, read_maps, strongest_first
from tests import nets
from tests.nets.gates import weight_normed
from tests.untouched import watch

X = nets.images(1)


def hooked(net: nn.Module, layer: str, call: int = 1) -> Tensor:
    """What a plain hook sees, copied at once."""
    seen: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda *a: seen.append(a[2].detach().clone()))
    with torch.no_grad():
        net(X.clone())
    handle.remove()
    return seen[call - 1][0]


@pytest.mark.parametrize("factory", [*nets.SAME_WEIGHTS, nets.frozen, nets.skip, nets.residual, nets.writes_input])
def test_the_maps_are_what_a_hook_sees(factory) -> None:
    net = factory()
    layer = "conv2"
    assert torch.equal(maps_of_layer(net, X, layer), hooked(net, layer))
    with torch.inference_mode():
        assert torch.equal(maps_of_layer(net, X, layer), hooked(net, layer))


def test_training_mode_does_not_matter_and_stays() -> None:
    net, calm = nets.norm_dropout(train=True), nets.norm_dropout()
    layer = next(name for name, m in net.named_modules() if isinstance(m, nn.BatchNorm2d))
    assert torch.equal(maps_of_layer(net, X, layer), hooked(calm, layer))


def test_a_reused_layer_must_be_named_by_its_call() -> None:
    net = nets.reused_inplace_relu()
    for call in (1, 2):
        assert torch.equal(maps_of_layer(net, X, f"rectify#{call}"), hooked(net, "rectify", call))
    with pytest.raises(ConvscopeError, match="runs more than once in a pass; name one call: 'rectify#1'"):
        maps_of_layer(net, X, "rectify")


@pytest.mark.parametrize(
    ("layer", "message"),
    [("linear1", r"'linear1' gives \(1, 16\)"), ("conv3", "no layer 'conv3' in Sequential; did you mean 'conv")],
)
def test_a_layer_without_maps_is_refused(layer: str, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        maps_of_layer(nets.plain(), X, layer)


# ---- every layer ---------------------------------------------------------------------------------------------


def names(net: nn.Module, **how) -> list[str]:
    return [one.layer for one in map_of_every_layer(net, X, **how)[0]]


def test_vgg16_shows_the_31_layers_of_its_features_in_order() -> None:
    """Oracle: torchvision's own module list, and the configuration D of Simonyan & Zisserman by hand."""
    from torchvision.models import vgg16

    with torch.random.fork_rng(devices=[]):
        net = vgg16(weights=None, num_classes=4).eval()
    found, left_out = map_of_every_layer(net, torch.zeros(1, 3, 64, 64))
    assert [one.layer for one in found] == [f"features.{i}" for i in range(31)]
    block = ["Conv2d", "ReLU"]
    stages = [[*block * n, "MaxPool2d"] for n in (2, 2, 3, 3, 3)]
    assert [one.type for one in found] == [type_ for stage in stages for type_ in stage]
    assert [one.shape[0] for one in found if one.type == "MaxPool2d"] == [64, 128, 256, 512, 512]
    assert list(left_out) == ["avgpool", *(f"classifier.{i}" for i in range(7))]
    assert left_out["avgpool"] == "pools to a fixed size"
    assert left_out["classifier.6"].startswith("gives (1, 4)")


def test_composites_are_shown_where_their_own_code_makes_the_output_only() -> None:
    """``residual`` rectifies a sum in its own code; a plain sequence hands on what its last part gave."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return (self.conv(x) + x).relu()

    class WrittenInPlace(Block):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).relu_()

    with torch.random.fork_rng(devices=[]):
        parts = [nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)), Block(), WrittenInPlace()]
        net = watch(nn.Sequential(*parts).double().eval())
    assert names(net) == ["0.0", "0.1", "1.conv", "1", "2.conv", "2"]
    found = {one.layer: one for one in map_of_every_layer(net, X, 0)[0]}
    assert torch.equal(found["1"].values, hooked(net, "1")[0])
    assert bool((found["2.conv"].values < 0).any())  # seen before the block wrote into it
    assert not bool((found["2"].values < 0).any())


@pytest.mark.parametrize("factory", [nets.reused_relu, nets.reused_inplace_relu])
def test_each_call_of_a_reused_layer_is_a_layer_of_its_own(factory) -> None:
    assert names(factory()) == ["conv1", "rectify#1", "pool1", "conv2", "rectify#2", "pool2"]
    left = map_of_every_layer(factory(), X)[1]
    assert set(left) == {"squash", "flatten", "linear1", "rectify#3", "linear2"}


def test_parametrisations_are_no_layers() -> None:
    assert not [name for name in names(weight_normed()) if "parametrizations" in name]
    assert {"conv1", "conv2"} <= set(names(weight_normed()))


def test_a_single_cell_is_left_out_with_the_reason() -> None:
    net = nets.pool_conv()
    found, left_out = map_of_every_layer(net, X)
    assert [one.layer for one in found] == ["conv1", "relu1", "pool1", "conv2", "relu2"]
    assert left_out["classifier"] == f"gives {nets.CLASSES} single cells, not maps"


@pytest.mark.parametrize("factory", [nets.plain, nets.inplace_relu])
@pytest.mark.parametrize("reading", ["mean", "strongest", 0, 5])
def test_each_map_is_read_off_the_layers_own_output(factory, reading) -> None:
    net = factory()
    for one in map_of_every_layer(net, X, reading)[0]:
        maps = hooked(net, one.layer)
        assert one.shape == tuple(maps.shape)
        if reading == "mean":
            expected, unit = maps.mean(0), None
        elif reading == "strongest":
            unit = max(range(len(maps)), key=lambda u: float(maps[u].max()))
            expected = maps[unit]
        else:
            expected, unit = maps[reading], reading
        assert one.unit == unit
        torch.testing.assert_close(one.values, expected, rtol=0, atol=1e-15)


def test_a_unit_that_a_layer_has_not_leaves_that_layer_out() -> None:
    found, left_out = map_of_every_layer(nets.plain(), X, 7)
    assert [one.layer for one in found] == ["conv2", "relu2", "pool2"]
    assert left_out["conv1"] == "has 6 units, so none numbered 7"


def test_only_the_drawn_map_is_held() -> None:
    """A map that is a view would hold all of its layer's."""
    for reading in ("strongest", 0):
        for one in map_of_every_layer(nets.plain(), X, reading)[0]:
            assert one.values.untyped_storage().nbytes() == one.values.numel() * one.values.element_size()


def test_strongest_first_by_hand() -> None:
    maps = torch.tensor([[[3.0, 0.0]], [[2.0, 2.0]], [[3.0, 0.0]], [[-1.0, 9.0]]])
    assert strongest_first(maps) == [3, 0, 2, 1]
    assert strongest_first(maps, "mean") == [3, 1, 0, 2]
    assert read_maps(maps, "strongest")[0] == 3
