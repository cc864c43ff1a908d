"""grad-cam 1.5.7 computes the same Grad-CAM before its scaling to [0, 1]: to 1e-5 of a map's maximum.

Its call returns maps that are scaled, enlarged and scaled again; what is compared is ``get_cam_image`` on the
activations and gradients of that call, followed by the ReLU that its ``compute_cam_per_layer`` applies. It leaves
gradients in the model, so it gets a copy.
"""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import grad_cam
from convscope.network.picture_folders import find_images
from convscope.network.pictures import read_image
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from tests import nets

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed (the extra 'peers')")

pytestmark = pytest.mark.peers


def theirs(net: nn.Module, x: Tensor, targets: list[int], layer: str) -> np.ndarray:
    """``(b, h, w)``, signed, before the ReLU."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    own = copy.deepcopy(net)
    aims = [ClassifierOutputTarget(target) for target in targets]
    with pytorch_grad_cam.GradCAM(model=own, target_layers=[own.get_submodule(layer)]) as method:
        method(input_tensor=x, targets=aims)
        seen = method.activations_and_grads
        acts, grads = seen.activations[0].numpy(), seen.gradients[0].numpy()
        return method.get_cam_image(x, own.get_submodule(layer), aims, acts, grads)


def near(found: Tensor, peer: np.ndarray) -> None:
    expected = torch.from_numpy(peer)
    assert found.shape == expected.shape
    largest = expected.abs().flatten(1).amax(1)
    assert largest.any(), "the peer's maps are all zero: nothing is compared"
    assert ((found - expected).abs().flatten(1).amax(1) <= 1e-5 * largest).all()


@pytest.mark.parametrize(
    ("factory", "layer"),
    [
        (nets.plain, "relu2"),
        (nets.functional_relu, "conv2"),
        (nets.reused_relu, "conv1"),
        (nets.overlapping_pool, "pool1"),
        (nets.gap_linear, "relu2"),
        (nets.norm_dropout, "relu1"),
        (nets.residual, "conv1"),
        (nets.hardswish_mix, "2"),
    ],
)
def test_grad_cam_on_tiny_nets(factory: Callable[..., nn.Module], layer: str) -> None:
    net, x = factory(dtype=torch.float32), nets.images(3, dtype=torch.float32)
    peer = theirs(net, x, [1, 4, 0], layer)
    near(grad_cam(net, x, target=[1, 4, 0], layer=layer, relu=False), peer)
    found = grad_cam(net, x, target=[1, 4, 0], layer=layer)
    assert np.abs(found.numpy() - np.maximum(peer, 0)).max() <= 1e-5 * np.abs(peer).max()


def test_grad_cam_on_squeezenet(squeezenet: nn.Module, shared: Path) -> None:
    """At layers whose output no in-place ReLU spoils: grad-cam keeps a reference to what is then written into."""
    prepare = Preprocess(size=256, crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bilinear")
    x = torch.cat([prepare(read_image(photo)) for photo in find_images(shared / "data" / "imagenet_photos")[7::50]])
    top = squeezenet(x).argmax(1).tolist()
    for layer in ("features.12", "features.7"):
        near(grad_cam(squeezenet, x, layer=layer, relu=False), theirs(squeezenet, x, top, layer))
