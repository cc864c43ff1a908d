"""grad-cam 1.5.7's successors of Grad-CAM, before its scaling: where they are the papers', and why elsewhere not.

What is compared is their ``get_cam_image`` on the activations and gradients of a call (see ``test_grad_cam.py``).
XGrad-CAM, LayerCAM and HiResCAM agree (XGrad-CAM to its epsilon of 1e-7). Its Grad-CAM++ has an epsilon of 1e-6 beside
2 g^2: with gradients of 1e-3 and less that is another map. Its Eigen-CAM subtracts each channel's mean: the same where
the mean is 0, after an instance norm.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import eigen_cam, grad_cam_pp, hires_cam, layer_cam, xgrad_cam
from convscope.attribution.eigen_map import eigen_cam_map
from convscope.network.picture_folders import find_images
from convscope.network.pictures import read_image
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from tests import nets, oracles
from tests.untouched import watch

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed (the extra 'peers')")

pytestmark = pytest.mark.peers
PAIRS = [(xgrad_cam, "XGradCAM"), (layer_cam, "LayerCAM"), (hires_cam, "HiResCAM")]


def theirs(name: str, net: nn.Module, x: Tensor, targets: list[int], layer: str) -> np.ndarray:
    """``(b, h, w)``, signed, before the ReLU. It leaves gradients in the model, so it gets a copy."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    own = copy.deepcopy(net)
    aims = [ClassifierOutputTarget(target) for target in targets]
    at = own.get_submodule(layer)
    with getattr(pytorch_grad_cam, name)(model=own, target_layers=[at]) as method:
        method(input_tensor=x, targets=aims)
        seen = method.activations_and_grads
        grads = seen.gradients[0].numpy() if seen.gradients else None
        return method.get_cam_image(x, at, aims, seen.activations[0].numpy(), grads, False)


def near(found: Tensor, peer: np.ndarray, share: float = 1e-5) -> None:
    expected = torch.from_numpy(peer)
    assert found.shape == expected.shape
    assert expected.abs().flatten(1).amax(1).all(), "a map of the peer is all zero: nothing is compared"
    assert _off(found, expected) <= share


def _off(found: Tensor, expected: Tensor) -> float:
    """The largest difference, in shares of the expected map's maximum."""
    return float(((found - expected).abs().flatten(1).amax(1) / expected.abs().flatten(1).amax(1)).max())


@pytest.mark.parametrize(("ours", "name"), PAIRS)
@pytest.mark.parametrize(
    ("factory", "layer"),
    [
        (nets.plain, "relu2"),
        (nets.plain, "relu1"),
        (nets.functional_relu, "pool1"),
        (nets.overlapping_pool, "pool1"),
        (nets.gap_linear, "relu2"),
        (nets.norm_dropout, "relu1"),
        (nets.hardswish_mix, "3"),
    ],
)
def test_three_methods_on_tiny_nets(
    ours: Callable[..., Tensor], name: str, factory: Callable[..., nn.Module], layer: str
) -> None:
    net, x = factory(dtype=torch.float32), nets.images(3, dtype=torch.float32)
    near(ours(net, x, target=[1, 4, 0], layer=layer, relu=False), theirs(name, net, x, [1, 4, 0], layer))


@pytest.mark.parametrize(("ours", "name"), PAIRS)
def test_three_methods_on_squeezenet(
    ours: Callable[..., Tensor], name: str, squeezenet: nn.Module, shared: Path
) -> None:
    """At layers whose output no in-place ReLU spoils: grad-cam keeps a reference to what is then written into."""
    x = _photos(shared)
    top = squeezenet(x).argmax(1).tolist()
    for layer in ("features.12", "features.7"):
        near(ours(squeezenet, x, layer=layer, relu=False), theirs(name, squeezenet, x, top, layer))


def _photos(shared: Path) -> Tensor:
    prepare = Preprocess(size=256, crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bilinear")
    return torch.cat([prepare(read_image(photo)) for photo in find_images(shared / "data" / "imagenet_photos")[7::50]])


@pytest.mark.parametrize("head", [1e4, 1.0, 1e-2])
def test_grad_cam_pp_agrees_while_the_gradients_are_large_and_their_epsilon_swallows_small_ones(head: float) -> None:
    net, x = _with_head_times(head), nets.images(3, dtype=torch.float32)
    found, peer = grad_cam_pp(net, x, target=1, layer="relu1"), theirs("GradCAMPlusPlus", net, x, [1, 1, 1], "relu1")
    if head == 1e4:
        near(found, peer, 1e-4)
        return
    assert (found >= torch.from_numpy(peer) - 1e-6 * found.max()).all()  # the epsilon only ever takes away
    least = {1.0: 1e-3, 1e-2: 0.5}[head]
    assert _off(torch.from_numpy(peer), found) >= least


def _with_head_times(factor: float) -> nn.Module:
    net = nets.plain(dtype=torch.float32)
    with torch.no_grad():
        net.linear2.weight.mul_(factor)
        net.linear2.bias.mul_(factor)
    return watch(net)


@nets.hard_net
def centred() -> nn.Module:
    """Every channel of ``norm`` has mean 0 over its map: subtracting it changes nothing."""
    head = {"pool": nn.AdaptiveMaxPool2d(1), "flatten": nn.Flatten(), "linear": nn.Linear(8, nets.CLASSES)}
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 8, 3), norm=nn.InstanceNorm2d(8), **head))


def test_eigen_cam_is_theirs_up_to_its_sign_where_the_channels_are_centred() -> None:
    net, x = centred(dtype=torch.float32), nets.images(3, dtype=torch.float32)
    found, peer = eigen_cam(net, x, layer="norm"), torch.from_numpy(theirs("EigenCAM", net, x, [0, 0, 0], "norm"))
    for ours, other in zip(found, peer, strict=True):
        difference = min(float((ours - sign * other).abs().max()) for sign in (1, -1))
        assert difference <= 1e-4 * float(other.abs().max())


def test_elsewhere_theirs_is_the_first_principal_component_with_both_signs() -> None:
    """Oracle: ours on activations centred by hand; and on a rectified layer ours has one sign, theirs two."""
    net, x = nets.gap_linear(dtype=torch.float32), nets.images(3, dtype=torch.float32)
    peer = torch.from_numpy(theirs("EigenCAM", net, x, [0, 0, 0], "relu2"))
    acts = oracles.forward_by_hand(net, x)[5]
    expected = eigen_cam_map(acts - acts.mean((2, 3), keepdim=True))
    assert torch.allclose(peer.abs(), expected.abs(), rtol=0, atol=1e-4 * float(peer.abs().max()))
    assert (peer.flatten(1).amin(1) < 0).all()
    assert (eigen_cam(net, x, layer="relu2") >= 0).all()
