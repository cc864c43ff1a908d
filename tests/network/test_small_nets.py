"""The named small networks. Oracles: counts and sizes by hand, the forward pass written out, CAM's closed form."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.attribution import cam
from convscope.errors import ConvscopeError
from convscope.network.small_nets import SMALL_NETS, SmallNet, small_net
from convscope.network.taps import tap
from tests import nets


def built(name: str, classes: int = 10, channels: int | None = None, size: int | None = None) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return small_net(name).build(classes, channels, size).eval().double()


def parameters(net: nn.Module) -> dict[str, int]:
    return {
        name: sum(p.numel() for p in layer.parameters())
        for name, layer in net.named_children()
        if [*layer.parameters()]
    }


def test_the_digits_network_has_the_parameters_of_three_convolutions_and_two_dense_layers() -> None:
    """Closed form: outputs x (inputs x kernel + 1); 28 px become 14, 7 and 3, so that 16 x 3 x 3 values are read."""
    by_hand = {
        "conv1": 9 * (1 * 25 + 1),
        "conv2": 9 * (9 * 25 + 1),
        "conv3": 16 * (9 * 9 + 1),
        "dense1": 25 * (16 * 3 * 3 + 1),
        "dense2": 10 * (25 + 1),
    }
    assert parameters(built("digits")) == by_hand
    assert sum(by_hand.values()) == 7465


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "digits",
            {"conv1": (9, 28), "pool1": (9, 14), "conv2": (9, 14), "pool2": (9, 7), "conv3": (16, 7), "pool3": (16, 3)},
        ),
        ("tiny", {"conv1": (16, 32), "conv2": (32, 16), "conv3": (64, 8), "relu3": (64, 8)}),
        ("small", {"conv1": (32, 64), "conv2": (64, 32), "conv3": (96, 16), "conv4": (128, 8), "relu5": (256, 4)}),
    ],
)
def test_each_pooling_halves_the_maps(name: str, shapes: dict[str, tuple[int, int]]) -> None:
    """By hand: zeros around a convolution keep the size of its maps."""
    net = built(name)
    x = nets.images(2, SMALL_NETS[name].channels, SMALL_NETS[name].size, SMALL_NETS[name].size)
    with tap(net, *shapes) as acts, torch.no_grad():
        assert net(x).shape == (2, 10)
    assert {layer: tuple(acts[layer].shape) for layer in shapes} == {
        layer: (2, maps, side, side) for layer, (maps, side) in shapes.items()
    }


def test_the_digits_network_is_what_its_layers_say() -> None:
    """Oracle: the same pass written out, in float64."""
    net = built("digits")
    x = nets.images(3, 1, 28, 28)
    w = net.state_dict()

    def stage(x: Tensor, k: int, around: int) -> Tensor:
        return F.max_pool2d(F.conv2d(x, w[f"conv{k}.weight"], w[f"conv{k}.bias"], padding=around).clamp(min=0), 2)

    maps = stage(stage(stage(x, 1, 2), 2, 2), 3, 1).flatten(1)
    hidden = (maps @ w["dense1.weight"].T + w["dense1.bias"]).clamp(min=0)
    expected = hidden @ w["dense2.weight"].T + w["dense2.bias"]
    with torch.no_grad():
        torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_cam_of_the_pooled_networks_is_exact(name: str) -> None:
    """Closed form: the mean of the class activation map plus the bias is the logit."""
    net = built(name, classes=3)
    x = nets.images(2, 3, 48, 40).double()  # no square, and not the usual size
    with torch.no_grad():
        logits = net(x)
    for k in range(3):
        heat = cam(net, x, target=k)
        torch.testing.assert_close(heat.mean((1, 2)) + net.get_parameter("dense.bias")[k].detach(), logits[:, k])


@pytest.mark.parametrize("net", SMALL_NETS.values(), ids=list(SMALL_NETS))
def test_the_smallest_input_is_where_one_pixel_is_left(net: SmallNet) -> None:
    """By hand: so many halvings as there are poolings. One pixel less is refused with the number."""
    least = 2 ** sum(isinstance(m, nn.MaxPool2d) for m in built(net.name).modules())
    with torch.no_grad():
        assert built(net.name, 4, 2, least)(nets.images(1, 2, least, least)).shape == (1, 4)
    with pytest.raises(ConvscopeError, match=f"{least - 1} px is too small .* takes {least} px or more"):
        net.build(10, size=least - 1)


def test_no_class_and_no_channel_are_refused() -> None:
    for classes, channels in ((0, 1), (3, 0)):
        with pytest.raises(ConvscopeError, match=f"one class and one channel, not {classes} and {channels}"):
            small_net("digits").build(classes, channels)


def test_a_misspelt_name_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(
        ConvscopeError, match=r"no network 'digit'; did you mean 'digits'\?; there are digits, tiny, small"
    ):
        small_net("digit")


def test_names_and_claims_are_those_of_the_registry() -> None:
    for name, net in SMALL_NETS.items():
        assert net.name == name
        assert net.claim


@pytest.mark.parametrize("name", SMALL_NETS)
def test_a_network_can_be_cut_as_any_sequence(name: str) -> None:
    """Oracle: the layers called one after the other. ``net[:3]`` calls the class with the layers."""
    net, x = built(name), nets.images(1, SMALL_NETS[name].channels, 32, 32)
    with torch.no_grad():
        assert torch.equal(net[:3](x), net[2](net[1](net[0](x))))
