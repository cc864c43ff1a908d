"""Nets whose recorded graph is hard to read, nets that misbehave, nets with other inputs and outputs."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tests.nets.building import CLASSES, hard_net, mean_and_linear

# ---- graphs --------------------------------------------------------------------------------------------------


class _Graph(nn.Module):
    """Two convolutions, the mean, a linear layer; subclasses say what happens between them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.linear = nn.Linear(8, CLASSES)

    def head(self, h: Tensor) -> Tensor:
        return self.linear(h.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv2(self.conv1(x).relu()).relu())


class _Skip(_Graph):
    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x)
        h = h + F.relu(h)
        h = self.conv2(h)
        return self.head(h + F.relu(h))


class _Residual(_Graph):
    """He et al. 2016, option A: the shortcut is a strided slice, padded with zero channels."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv1 = nn.Conv2d(4, 8, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.stem(x))
        shortcut = F.pad(h[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        h = F.relu(self.norm(self.conv1(h)), inplace=True)
        h = self.conv2(h)
        h += shortcut
        return self.head(self.down(h.relu_()).relu())


class _ViewWrite(_Graph):
    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x)
        h[:, :4].relu_()  # the graph records CopySlices: the ReLU is hidden inside
        return self.head(self.conv2(h).relu())


class _Checkpointed(_Graph):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x).relu()
        if not torch.is_grad_enabled():
            return self.head(self.block(h))
        return self.head(checkpoint(self.block, h, use_reentrant=self.reentrant))

    def block(self, h: Tensor) -> Tensor:
        return self.conv2(h).relu()


class _OwnReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (x > 0)


class _CustomFunction(_Graph):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv2(_OwnReLU.apply(self.conv1(x))).relu())


@hard_net
def skip() -> nn.Module:
    """``h + relu(h)``, twice: a rule on modules counts the skip path as well, or misses it."""
    return _Skip()


@hard_net
def residual() -> nn.Module:
    return _Residual()


@hard_net
def view_write() -> nn.Module:
    """An in-place ReLU on a view: the graph hides it (CopySlices), so a backward rule must refuse by name."""
    return _ViewWrite()


@hard_net
def checkpointed(reentrant: bool = True) -> nn.Module:
    """Activation checkpointing; the reentrant kind hides its block from the graph (CheckpointFunction)."""
    return _Checkpointed(reentrant)


@hard_net
def custom_function() -> nn.Module:
    """A ReLU of the user's own as an autograd.Function: opaque, so a backward rule must refuse by name."""
    return _CustomFunction()


# ---- nets that misbehave -------------------------------------------------------------------------------------


class OutOfOrder(RuntimeError):
    """What ``raises_on_call`` and ``raises_for`` raise."""


class _Raising(_Graph):
    def __init__(self, on_call: int | None, when: Callable[[Tensor], bool]) -> None:
        super().__init__()
        self.on_call, self.when, self.calls = on_call, when, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        h = self.conv1(x).relu()  # first some work, so that hooks have already acted
        if self.calls == self.on_call or self.when(x):
            raise OutOfOrder(f"call {self.calls}")
        return self.head(self.conv2(h).relu())


class _NoGrad(_Graph):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


class _WritesInput(_Graph):
    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5  # normalises in place: the caller's tensor changes, and a leaf that needs grad cannot
        return super().forward(x)


class _UnusedLayer(_Graph):
    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = nn.Conv2d(8, 8, 3)


class _SharedConv(_Graph):
    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x).relu()
        return self.head(self.conv2(self.conv2(h).relu()).relu())


@hard_net
def raises_on_call(n: int) -> nn.Module:
    """Raises ``OutOfOrder`` in the middle of its n-th forward (the first is 1)."""
    return _Raising(n, lambda x: False)


@hard_net
def raises_for(when: Callable[[Tensor], bool]) -> nn.Module:
    """Raises ``OutOfOrder`` in the middle of the forward for inputs of which ``when(x)`` is true."""
    return _Raising(None, when)


@hard_net
def no_grad() -> nn.Module:
    """Its forward runs in ``torch.no_grad()``: no graph, so every gradient method must refuse."""
    return _NoGrad()


@hard_net
def writes_input() -> nn.Module:
    """Normalises its input in place."""
    return _WritesInput()


@hard_net
def unused_layer() -> nn.Module:
    """``auxiliary`` never runs: tapping it is an error."""
    return _UnusedLayer()


@hard_net
def shared_conv() -> nn.Module:
    """``conv2`` runs twice in a pass: ``conv2`` alone is ambiguous, ``conv2#1`` and ``conv2#2`` are not."""
    return _SharedConv()


@hard_net
def norm_dropout(train: bool = False) -> nn.Module:
    """Batch norm with statistics unlike the batch's, and dropout; ``train=True`` leaves it in train mode."""
    norm = nn.BatchNorm2d(6)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    nn.init.normal_(norm.bias)
    first = OrderedDict(conv1=nn.Conv2d(3, 6, 3, padding=1), norm1=norm, relu1=nn.ReLU(), dropout=nn.Dropout2d(0.5))
    head = dict(zip(("pool", "flatten", "linear"), mean_and_linear(6), strict=True))
    return nn.Sequential(OrderedDict(**first, **head))


# ---- inputs and outputs --------------------------------------------------------------------------------------


class _TwoInputs(_Graph):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Linear(4, 8)

    def forward(self, image: Tensor, words: Tensor) -> Tensor:
        h = self.conv2(self.conv1(image).relu()).relu()
        return self.head(h * self.words(words).sigmoid()[:, :, None, None])


class _DictOutput(_Graph):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.conv2(self.conv1(x).relu()).relu()
        return {"logits": self.head(features), "features": features}


@hard_net
def two_inputs() -> nn.Module:
    """``forward(image (b, 3, h, w), words (b, 4))``, as in visual question answering."""
    return _TwoInputs()


@hard_net
def dict_output() -> nn.Module:
    """Returns ``{"logits": (b, CLASSES), "features": (b, 8, h, w)}``: the target must be a callable."""
    return _DictOutput()
