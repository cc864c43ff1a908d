"""Transformers in small: patches to tokens, attention, and the heads that people put on them."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from tests.nets.building import CLASSES, hard_net

WIDTH, PATCH = 20, 4


class _Patches(nn.Module):
    """(b, 3, H, W) to (b, leading + H W / 16, 20), row by row."""

    def __init__(self, leading: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.leading = nn.Parameter(torch.randn(1, leading, WIDTH)) if leading else None

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.projection(x).flatten(2).transpose(1, 2)
        return tokens if self.leading is None else torch.cat([self.leading.expand(len(x), -1, -1), tokens], 1)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query_key = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH))
        self.value = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        query, key = self.query_key(h).chunk(2, -1)
        weights = (query @ key.transpose(1, 2) / WIDTH**0.5).softmax(-1)
        x = x + weights @ self.value(h)
        return x + self.mlp(self.norm2(x))


class _Answer(nn.Module):
    """The head reads the class token, or the mean of the patches."""

    def __init__(self, leading: int, averaged: bool) -> None:
        super().__init__()
        self.leading, self.averaged = leading, averaged
        self.linear = nn.Linear(WIDTH, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(tokens[:, self.leading :].mean(1) if self.averaged else tokens[:, 0])


def _vit(leading: int, averaged: bool) -> nn.Module:
    blocks = nn.Sequential(_Block(), _Block())
    parts = {"patches": _Patches(leading), "blocks": blocks, "norm": nn.LayerNorm(WIDTH)}
    return nn.Sequential(OrderedDict(**parts, answer=_Answer(leading, averaged)))


@hard_net
def class_token(leading: int = 1) -> nn.Module:
    """A ViT that answers from its class token; ``leading`` counts distillation and register tokens too."""
    return _vit(leading, averaged=False)


@hard_net
def averaged_tokens(leading: int = 0) -> nn.Module:
    """A ViT that answers from the mean of its patches."""
    return _vit(leading, averaged=True)


@hard_net
def untrained_head() -> nn.Module:
    """As torchvision starts a ViT: the head's weights are zero."""
    net = _vit(1, averaged=False)
    for parameter in net.get_submodule("answer").parameters():
        nn.init.zeros_(parameter)
    return net


class _Last(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


@hard_net
def channels_last() -> nn.Module:
    """Swin's layout: maps (b, h, w, c) from the first layer to the head, which averages them."""
    head = {"pool": _Pool(), "linear": nn.Linear(WIDTH, CLASSES)}
    parts = {"patches": nn.Conv2d(3, WIDTH, PATCH, stride=PATCH), "last": _Last(), "norm": nn.LayerNorm(WIDTH)}
    return nn.Sequential(OrderedDict(**parts, **head))


class _Pool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2))
