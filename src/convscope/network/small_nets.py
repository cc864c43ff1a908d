"""Small networks by name, untrained: what ``convscope train --net NAME`` begins with.

    digits   28 px, grey     three convolutions (9, 9 and 16 maps; 5x5, 5x5 and 3x3), two dense layers (25, classes)
    tiny     32 px, colour   three convolutions (16, 32, 64 maps), the mean of each map, one linear layer
    small    64 px, colour   five convolutions (32 to 256 maps), the mean of each map, one linear layer

All are one straight line of layers named by what they do, ``conv1 relu1 pool1 conv2 ...``, so that a name of a layer
can be guessed. Convolutions keep the size of their maps (zeros are added around), each 2x2 max-pooling halves it: the
maps of stage k have ``floor(size / 2^k)`` pixels a side.

``digits`` is the kind of LeCun et al. 1998 (Gradient-based learning applied to document recognition), small enough
that all its filters and maps go on one page. Its dense layers read the place of each map's pixels, so that it has one
input size and no exact CAM. ``tiny`` and ``small`` end in the mean of each map (Lin et al. 2014, arXiv:1312.4400), so
that they take any size from 4 or 16 pixels, and CAM is exact. Both have batch norms (Ioffe & Szegedy 2015), with which
they learn in few epochs.

Weights are torch's usual first ones, drawn from its global random state.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from convscope.errors import ConvscopeError, nearest

Layers = OrderedDict[str, nn.Module]

DIGITS_MAPS, DIGITS_KERNELS, DIGITS_DENSE = (9, 9, 16), (5, 5, 3), 25
TINY_MAPS = (16, 32, 64)
SMALL_MAPS = (32, 64, 96, 128, 256)


@dataclass(frozen=True)
class SmallNet:
    """A named network: ``channels`` and ``size`` (pixels a side) of the input it is made for."""

    name: str
    channels: int
    size: int
    claim: str
    stages: int
    make: Callable[[int, int, int], nn.Module]

    def build(self, classes: int, channels: int | None = None, size: int | None = None) -> nn.Module:
        """The untrained network, ``(b, channels, size, size)`` -> ``(b, classes)`` logits.

        Args:
            classes: outputs.
            channels: of the input, where it is another number than the usual.
            size: pixels a side of the input, likewise.

        Raises:
            ConvscopeError: no class, no channel, or an input that the poolings leave nothing of.
        """
        channels = self.channels if channels is None else channels
        size = self.size if size is None else size
        if classes < 1 or channels < 1:
            raise ConvscopeError(
                f"the network {self.name!r} needs at least one class and one channel, not {classes} and {channels}"
            )
        if size < (least := 2**self.stages):
            raise ConvscopeError(
                f"{size} px is too small for the network {self.name!r}: its {self.stages} poolings halve the image, "
                f"so it takes {least} px or more"
            )
        return self.make(classes, channels, size)


class DigitsNet(nn.Sequential):
    """Three convolutions with ReLU and max-pooling, then two dense layers."""


class PooledNet(nn.Sequential):
    """3x3 convolutions with batch norm, ReLU and max-pooling, then the mean of each map and one linear layer."""


# functions, not constructors: a slice of an nn.Sequential is made by calling its class with the layers
def _digits(classes: int, channels: int, size: int) -> nn.Module:
    layers: Layers = OrderedDict()
    inputs = channels
    for k, (maps, kernel) in enumerate(zip(DIGITS_MAPS, DIGITS_KERNELS, strict=True), start=1):
        layers[f"conv{k}"] = nn.Conv2d(inputs, maps, kernel, padding=kernel // 2)
        layers[f"relu{k}"] = nn.ReLU()
        layers[f"pool{k}"] = nn.MaxPool2d(2)
        inputs, size = maps, size // 2
    layers["flatten"] = nn.Flatten()
    layers["dense1"] = nn.Linear(inputs * size * size, DIGITS_DENSE)
    layers["relu4"] = nn.ReLU()
    layers["dense2"] = nn.Linear(DIGITS_DENSE, classes)
    return DigitsNet(layers)


def _pooled(maps: tuple[int, ...], classes: int, channels: int) -> nn.Module:
    layers: Layers = OrderedDict()
    for k, (inputs, outputs) in enumerate(zip((channels, *maps), maps, strict=False), start=1):
        layers[f"conv{k}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)  # the norm has one
        layers[f"norm{k}"] = nn.BatchNorm2d(outputs)
        layers[f"relu{k}"] = nn.ReLU()
        if k < len(maps):  # the last maps keep their pixels, which CAM draws
            layers[f"pool{k}"] = nn.MaxPool2d(2)
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["dense"] = nn.Linear(maps[-1], classes)
    return PooledNet(layers)


def _tiny(classes: int, channels: int, _size: int) -> nn.Module:
    return _pooled(TINY_MAPS, classes, channels)


def _small(classes: int, channels: int, _size: int) -> nn.Module:
    return _pooled(SMALL_MAPS, classes, channels)


_ALL = (
    SmallNet("digits", 1, 28, "three convolutions and two dense layers, for written digits", 3, _digits),
    SmallNet("tiny", 3, 32, "three convolutions and the mean of each map, for pictures of 32 pixels", 2, _tiny),
    SmallNet("small", 3, 64, "five convolutions and the mean of each map, for pictures of 64 pixels", 4, _small),
)
SMALL_NETS: Mapping[str, SmallNet] = MappingProxyType({net.name: net for net in _ALL})


def small_net(name: str) -> SmallNet:
    """The named network.

    Raises:
        ConvscopeError: no such name, with those there are and the nearest.
    """
    if name not in SMALL_NETS:
        raise ConvscopeError(f"no network {name!r}{nearest(name, SMALL_NETS)}; there are {', '.join(SMALL_NETS)}")
    return SMALL_NETS[name]
