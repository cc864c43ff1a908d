"""Networks whose last map is hard to tell: heads of every kind, and no head at all."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from tests.nets.building import CLASSES, hard_net


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(inputs, outputs, 3, padding=1), relu=nn.ReLU(inplace=True)))


@hard_net
def trunk_of_parts(pooled: bool = True) -> nn.Module:
    """``features`` is an unnamed sequence of different things, which ends in a pooling: the layer is inside it."""
    parts: list[nn.Module] = [nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 6, 3), nn.ReLU(inplace=True)]
    features = nn.Sequential(*parts, *([nn.MaxPool2d(2)] if pooled else []))
    head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "linear": nn.Linear(6, CLASSES)}
    return nn.Sequential(OrderedDict(features=features, **head))


@hard_net
def stages() -> nn.Module:
    """``stage2`` holds blocks of one kind: the stage is the layer, not its last block."""
    stage2 = nn.Sequential(_stage(6, 6), _stage(6, 6))
    head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "linear": nn.Linear(6, CLASSES)}
    return nn.Sequential(OrderedDict(stage1=_stage(3, 6), stage2=stage2, **head))


@hard_net
def as_many_channels_as_classes() -> nn.Module:
    """SqueezeNet's head above maps of as many channels as there are classes: only the last are maps of classes."""
    return nn.Sequential(
        OrderedDict(
            stage1=_stage(3, CLASSES),
            stage2=_stage(CLASSES, CLASSES),
            dropout=nn.Dropout(),
            classifier=nn.Conv2d(CLASSES, CLASSES, 1),
            relu=nn.ReLU(inplace=True),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
        )
    )


class _Squeezed(nn.Module):
    """Channel attention by linear layers inside the trunk; the head is a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = _stage(3, 6)
        self.attention = nn.Linear(6, 6)
        self.classifier = nn.Conv2d(6, CLASSES, 1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.stage(x))
        h = h * self.attention(h.mean((2, 3))).sigmoid()[:, :, None, None]
        return self.relu(self.classifier(h)).mean((2, 3))


@hard_net
def attention_below_a_convolutional_head() -> nn.Module:
    """The last map is ``relu#1``: the linear layers are not the head, and ``relu#2`` is of the classes."""
    return _Squeezed()


class _Tokens(nn.Module):
    """A vision transformer in small: patches, then tokens (b, n, c)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(torch.nn.functional.gelu(self.mix(tokens)).mean(1))


@hard_net
def tokens() -> nn.Module:
    return _Tokens()


@hard_net
def backbone() -> nn.Module:
    """No head: what is returned are maps."""
    return nn.Sequential(OrderedDict(stage1=_stage(3, 6), stage2=_stage(6, 8)))


class _Rectified(nn.Module):
    """DenseNet's head: the maps are rectified by a function before the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 6, 3), norm=nn.BatchNorm2d(6)))
        self.classifier = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).relu().mean((2, 3)))


@hard_net
def rectified_before_the_mean() -> nn.Module:
    return _Rectified()


@hard_net
def shrinking() -> nn.Module:
    """Halves its map three times: at 8 pixels the last map is 1 x 1, and so no map."""
    sizes = {f"stage{i}": nn.Conv2d(3 if i == 1 else 6, 6, 3, stride=2, padding=1) for i in (1, 2, 3)}
    head = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "linear": nn.Linear(6, CLASSES)}
    return nn.Sequential(OrderedDict(**sizes, **head))
