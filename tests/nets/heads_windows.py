"""The heads that CAM knows, and windows that are hard to walk back through."""

from collections import OrderedDict

from torch import nn

from tests.nets.building import CLASSES, hard_net, mean_and_linear

# ---- heads ---------------------------------------------------------------------------------------------------


def _trunk(bias: bool = True) -> "OrderedDict[str, nn.Module]":
    return OrderedDict(
        conv1=nn.Conv2d(3, 6, 3, padding=1, bias=bias),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 8, 3, padding=1, bias=bias),
        relu2=nn.ReLU(),
    )


@hard_net
def gap_linear(bias: bool = True) -> nn.Module:
    """Mean over the map, then linear: mean(CAM) + b = logit. ``bias=False`` anywhere: S = sum of g * A."""
    head = dict(zip(("pool", "flatten", "linear"), mean_and_linear(8, bias=bias), strict=True))
    return nn.Sequential(OrderedDict(**_trunk(bias), **head))


@hard_net
def pool_conv() -> nn.Module:
    """Mean over the map, then a 1x1 convolution: the second head that CAM knows."""
    head = {"pool": nn.AdaptiveAvgPool2d(1), "classifier": nn.Conv2d(8, CLASSES, 1), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(**_trunk(), **head))


@hard_net
def conv_relu_gap() -> nn.Module:
    """SqueezeNet's head: dropout, 1x1 convolution, ReLU, mean: mean(relu(CAM + b)) = logit, never negative."""
    head: dict[str, nn.Module] = {"dropout": nn.Dropout(0.5), "classifier": nn.Conv2d(8, CLASSES, 1)}
    head |= {"relu3": nn.ReLU(inplace=True), "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(**_trunk(), **head))


# ---- windows -------------------------------------------------------------------------------------------------


@hard_net
def overlapping_pool() -> nn.Module:
    """3x3/2 max-pooling: a pixel may win in several windows, so that unpooling must add, not overwrite."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 6, 3, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(3, 2),
            conv2=nn.Conv2d(6, 8, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(3, 2, padding=1),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(8, CLASSES),
        )
    )


@hard_net
def strided() -> nn.Module:
    """Strided, dilated and grouped convolutions: going down, a naive transposed convolution loses a pixel."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 6, 3, stride=2, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(6, 8, 3, padding=2, dilation=2, groups=2),
            relu2=nn.ReLU(),
            conv3=nn.Conv2d(8, 8, (1, 3), stride=(1, 2), bias=False),
            relu3=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(8, CLASSES),
        )
    )
