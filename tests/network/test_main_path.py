"""The main path. Oracles: lists by hand for known networks; removing a layer's output cuts the input off, tried."""

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.layers import named_layers, recorded_outputs
from convscope.network.main_path import main_path
from convscope.network.taps import tap
from tests import nets
from tests.nets import hard_net
from tests.untouched import watch


def is_cut(net: nn.Module, layer: str) -> bool:
    """With the layer's output for one image put in, does the network answer as for that image, whatever it is given?"""
    one, other = nets.images(2).split(1)
    with torch.no_grad():
        with tap(net, layer) as seen:
            expected = net(one)
        with tap(net, layer, edit={layer: lambda _: seen[layer].clone()}):
            return torch.equal(net(other), expected)


@pytest.mark.parametrize("factory", nets.EVERY)
def test_every_layer_on_it_cuts_the_image_off(factory) -> None:
    net, x = factory(), nets.images(1)
    names = main_path(net, x)
    assert all(is_cut(net, name) for name in names)
    order = [one.name for one in recorded_outputs(net, x)]
    assert list(names) == sorted(names, key=order.index)


@pytest.mark.parametrize("factory", [nets.residual, nets.skip, nets.plain, nets.gap_linear, nets.pool_conv])
def test_no_plain_layer_that_cuts_the_image_off_is_missing(factory) -> None:
    """Networks without composites; those that lose nothing are left out by kind."""
    net, x = factory(), nets.images(1)
    leaves = [name for name, module in named_layers(net).items() if not isinstance(module, nn.Flatten | nn.BatchNorm2d)]
    ran = {one.name for one in recorded_outputs(net, x)}
    assert set(main_path(net, x)) == {name for name in leaves if name in ran and is_cut(net, name)}


class Block(nn.Module):
    def __init__(self, *parts: nn.Module, around: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.around = around

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for part in self.parts:
            y = part(y)
        return x + y if self.around else y


@hard_net
def blocks() -> nn.Sequential:
    """Six blocks with and without a shortcut, in two plain sequences; dropout, norms and flattening."""

    def block(*, around: bool) -> Block:
        return Block(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), around=around)

    first = nn.Sequential(*(block(around=i % 2 == 0) for i in range(3)))
    second = nn.Sequential(*(block(around=i % 2 == 0) for i in range(3)))
    stem = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 5), nn.Identity()]
    return nn.Sequential(*stem, first, second, *head)


def test_a_block_stands_for_its_parts_and_a_plain_sequence_is_opened() -> None:
    expected = ("0", "2", "3.0", "3.1", "3.2", "4.0", "4.1", "4.2", "5", "8")
    assert main_path(blocks(), nets.images(1)) == expected


class Wrapped(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = inner, nn.Linear(5, 2, dtype=torch.float64)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.head(self.backbone(x))}


@hard_net
def wrapped() -> Wrapped:
    return Wrapped(Block(*blocks(), around=False))


def test_a_composite_that_is_most_of_the_network_is_opened() -> None:
    names = main_path(wrapped(), nets.images(1))
    assert names[:4] == ("backbone.parts.0", "backbone.parts.2", "backbone.parts.3.0", "backbone.parts.3.1")
    assert names[-2:] == ("backbone.parts.8", "head")


def test_known_networks(squeezenet: nn.Module, resnet20: nn.Module) -> None:
    """By hand, from their figures."""
    x = torch.zeros(1, 3, 64, 64)
    assert main_path(squeezenet, x) == (*(f"features.{i}" for i in range(13)), *(f"classifier.{i}" for i in (1, 2, 3)))
    stages = [f"layer{stage}.{i}" for stage in (1, 2, 3) for i in range(3)]
    assert main_path(resnet20, x) == ("conv1", *stages, "linear")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", "conv1 relu maxpool layer1.0 layer1.1 layer2.0 layer2.1 layer3.0 layer3.1 layer4.0 layer4.1 "
         "avgpool fc"),
        ("mobilenet_v2", " ".join(f"features.{i}" for i in range(19)) + " classifier.1"),
        ("vgg11", " ".join(f"features.{i}" for i in range(21)) + " avgpool classifier.0 classifier.1 classifier.3 "
         "classifier.4 classifier.6"),
    ],
)  # fmt: skip
def test_torchvisions_networks(name: str, expected: str) -> None:
    """By hand, from their figures; a VGG's first fully connected layer is made small."""
    import torchvision

    with torch.device("meta"):
        net = getattr(torchvision.models, name)(weights=None)
    if name == "vgg11":
        net.avgpool, net.classifier[0] = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 4096, device="meta")
    net.to_empty(device="cpu").eval()
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            tensor.fill_(1)
    assert main_path(watch(net), torch.zeros(1, 3, 64, 64)) == tuple(expected.split())


def test_a_digits_network_with_dense_layers_has_them_all() -> None:
    net = hard_net(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 5 * 5, 8), nn.ReLU(),
            nn.Linear(8, 5),
        )
    )()  # fmt: skip
    assert main_path(net, nets.images(1, c=1)) == ("0", "1", "2", "4", "5", "6")


def test_a_forward_pass_without_gradients_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="without gradients"):
        main_path(nets.no_grad(), nets.images(1))
