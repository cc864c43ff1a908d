"""Captum 0.9 computes the same, on nets with the module ReLUs that it needs: to 1e-5 of a map's maximum.

Captum hooks modules, so that a net is given to it as a copy whose ReLUs work out of place and are each called once;
convscope gets the net as it is.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import (
    deconvnet,
    grad_cam,
    gradient,
    guided_backprop,
    guided_grad_cam,
    input_x_gradient,
    occlusion,
    saliency,
)
from convscope.network.picture_folders import find_images
from convscope.network.pictures import read_image
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from tests import nets
from tests.untouched import watch

captum = pytest.importorskip("captum.attr", reason="captum is not installed (the extra 'peers')")

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:Setting (backward|forward).* hooks:UserWarning"),
    pytest.mark.filterwarnings("ignore:Input Tensor .* did not already require gradients:UserWarning"),
]
SHARE = 1e-5


class _InTurn(nn.Module):
    """As many ReLUs as a reused one had calls, each for one of them: Captum's hooks do not survive a second call."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.each = nn.ModuleList(nn.ReLU() for _ in range(calls))
        self.call = 0

    def forward(self, x: Tensor) -> Tensor:
        self.call += 1
        return self.each[(self.call - 1) % len(self.each)](x)


def for_captum(net: nn.Module, calls: int = 1) -> nn.Module:
    """A copy whose ReLUs work out of place; those of residual blocks are called ``calls`` times in a pass."""
    other = copy.deepcopy(net).eval()
    for path, part in list(other.named_modules()):
        if isinstance(part, nn.ReLU):
            part.inplace = False
            if calls > 1 and path.rpartition(".")[0]:
                setattr(other.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], _InTurn(calls))
    return other


def near(found: Tensor, captums: Tensor) -> None:
    """Each image's map within ``SHARE`` of Captum's largest magnitude in it; zero where Captum's is zero."""
    assert found.shape == captums.shape
    largest = captums.detach().abs().flatten(1).amax(1)
    difference = (found - captums.detach()).abs().flatten(1).amax(1)
    assert largest.any(), "Captum's maps are all zero: nothing is compared"
    assert (difference <= SHARE * largest).all(), f"differences {difference.tolist()} of maxima {largest.tolist()}"


# ---- the nets ----


def _resnet18() -> tuple[nn.Module, Tensor, str]:
    from torchvision.models import resnet18

    return _seeded(resnet18), nets.images(2, h=64, w=64, dtype=torch.float32), "layer3"


def _vgg11() -> tuple[nn.Module, Tensor, str]:
    """torchvision's trunk; a head of its kind that is narrower than 4096."""
    from torchvision.models.vgg import cfgs, make_layers

    def build() -> nn.Module:
        head = [nn.Flatten(), nn.Linear(512 * 4, 64), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(64, 10)]
        return nn.Sequential(OrderedDict(features=make_layers(cfgs["A"]), classifier=nn.Sequential(*head)))

    return _seeded(build), nets.images(2, h=64, w=64, dtype=torch.float32), "features.17"


def _seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def _tiny(factory: Callable[..., nn.Module], layer: str) -> Callable[[], tuple[nn.Module, Tensor, str]]:
    return lambda: (factory(dtype=torch.float32), nets.images(2, dtype=torch.float32), layer)


NETS: dict[str, Callable[[], tuple[nn.Module, Tensor, str]]] = {
    "plain": _tiny(nets.plain, "relu2"),
    "inplace": _tiny(nets.inplace_relu, "conv2"),
    "overlapping": _tiny(nets.overlapping_pool, "pool1"),
    "strided": _tiny(nets.strided, "conv2"),
    "gap": _tiny(nets.gap_linear, "relu2"),
    "squeezenet's head": _tiny(nets.conv_relu_gap, "relu2"),
    "norm": _tiny(nets.norm_dropout, "relu1"),
    "resnet18": _resnet18,
    "vgg11": _vgg11,
}


Case = tuple[nn.Module, nn.Module, Tensor, str, int]


@pytest.fixture(params=NETS, scope="module")
def built(request: pytest.FixtureRequest) -> Case:
    net, x, layer = NETS[request.param]()
    theirs = for_captum(net, 2 if request.param == "resnet18" else 1)
    return net, theirs, x, layer, int(net(x)[0].argmax())


@pytest.fixture
def case(built: Case) -> Case:
    """The net, Captum's copy of it, images, a layer, and the first image's top class."""
    watch(built[0])
    return built


# ---- on any net ----


def test_gradient(case: Case) -> None:
    net, theirs, x, _, target = case
    near(gradient(net, x, target=target), captum.Saliency(theirs).attribute(_leaf(x), target=target, abs=False))
    captums = captum.Saliency(theirs).attribute(_leaf(x), target=target, abs=True).amax(1)
    near(saliency(net, x, target=target), captums)


def test_input_x_gradient(case: Case) -> None:
    net, theirs, x, _, target = case
    near(input_x_gradient(net, x, target=target), captum.InputXGradient(theirs).attribute(_leaf(x), target=target))


def test_guided_backprop(case: Case) -> None:
    net, theirs, x, _, target = case
    captums = captum.GuidedBackprop(theirs).attribute(_leaf(x), target=target)
    near(guided_backprop(net, x, target=target), captums)
    assert not torch.allclose(captums, captum.Saliency(theirs).attribute(_leaf(x), target=target, abs=False))


def test_deconvnet_of_a_class(case: Case) -> None:
    net, theirs, x, _, target = case
    near(deconvnet(net, x, target=target), captum.Deconvolution(theirs).attribute(_leaf(x), target=target))


@pytest.mark.parametrize("relu", [True, False])
def test_grad_cam(case: Case, relu: bool) -> None:
    net, theirs, x, layer, target = case
    peer = captum.LayerGradCam(theirs, theirs.get_submodule(layer))
    captums = peer.attribute(_leaf(x), target=target, relu_attributions=relu)[:, 0]
    near(grad_cam(net, x, target=target, layer=layer, relu=relu), captums)


def test_guided_grad_cam(case: Case) -> None:
    net, theirs, x, layer, target = case
    peer = captum.GuidedGradCam(theirs, theirs.get_submodule(layer))
    captums = peer.attribute(_leaf(x), target=target, interpolate_mode="bilinear")
    near(guided_grad_cam(net, x, target=target, layer=layer), captums)


@pytest.mark.parametrize(("size", "stride"), [(4, 4), (5, 3), (6, 1)])
def test_occlusion_on_tiny_nets(size: int, stride: int) -> None:
    for name in ("plain", "overlapping", "strided", "gap", "norm"):
        net, x, _ = NETS[name]()
        peer = captum.Occlusion(for_captum(net))
        shape, strides, target = (3, size, size), (3, stride, stride), 1
        with torch.no_grad():
            captums = peer.attribute(x, target=target, sliding_window_shapes=shape, strides=strides, baselines=0)
        assert torch.equal(captums[:, 0], captums[:, 2])  # one value a pixel, repeated for its channels
        near(occlusion(net, x, target=target, size=size, stride=stride), captums[:, 0])


# ---- real weights, real photos ----


@pytest.fixture
def photos(shared: Path) -> Tensor:
    prepare = Preprocess(size=256, crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bilinear")
    found = find_images(shared / "data" / "imagenet_photos")
    return torch.cat([prepare(read_image(photo)) for photo in found[3::40]])


@pytest.fixture
def both(squeezenet: nn.Module, photos: Tensor) -> tuple[nn.Module, nn.Module, Tensor, list[int]]:
    """SqueezeNet, Captum's copy, five photos and their top classes."""
    return squeezenet, for_captum(squeezenet), photos, squeezenet(photos).argmax(1).tolist()


def test_squeezenet_gradients(both: tuple[nn.Module, nn.Module, Tensor, list[int]]) -> None:
    net, theirs, x, top = both
    near(gradient(net, x), captum.Saliency(theirs).attribute(_leaf(x), target=top, abs=False))
    near(input_x_gradient(net, x), captum.InputXGradient(theirs).attribute(_leaf(x), target=top))
    near(guided_backprop(net, x), captum.GuidedBackprop(theirs).attribute(_leaf(x), target=top))


def test_squeezenet_deconvnet_where_it_is_not_zero(both: tuple[nn.Module, nn.Module, Tensor, list[int]]) -> None:
    """A class: zero where Captum's is zero, which is most of them; a channel of a layer: Captum's from its mean."""
    net, theirs, x, top = both
    captums = captum.Deconvolution(theirs).attribute(_leaf(x), target=top)
    found = deconvnet(net, x)
    assert torch.equal(found.flatten(1).any(1), captums.flatten(1).any(1))
    if captums.any():
        near(found, captums)
    chopped = theirs.features[:8]
    unit = int(chopped(x)[0].amax((1, 2)).argmax())
    y, x0 = divmod(int(chopped(x)[0, unit].argmax()), chopped(x).shape[3])
    captums = captum.Deconvolution(chopped).attribute(_leaf(x[:1]), target=(unit, y, x0))
    value = chopped(x[:1])[0, unit, y, x0].detach()
    near(deconvnet(net, x[:1], target=f"features.7:{unit}@{y},{x0}"), value * captums)


def test_squeezenet_grad_cam(both: tuple[nn.Module, nn.Module, Tensor, list[int]]) -> None:
    net, theirs, x, top = both
    for layer in ("features.12", "features.7"):
        peer = captum.LayerGradCam(theirs, theirs.get_submodule(layer))
        for relu in (True, False):
            captums = peer.attribute(_leaf(x), target=top, relu_attributions=relu)[:, 0]
            near(grad_cam(net, x, layer=layer, relu=relu), captums)
        peer = captum.GuidedGradCam(theirs, theirs.get_submodule(layer))
        near(guided_grad_cam(net, x, layer=layer), peer.attribute(_leaf(x), target=top, interpolate_mode="bilinear"))


def test_squeezenet_occlusion(both: tuple[nn.Module, nn.Module, Tensor, list[int]]) -> None:
    net, theirs, x, top = both
    shape, strides = (3, 64, 64), (3, 50, 50)
    with torch.no_grad():
        captums = captum.Occlusion(theirs).attribute(
            x[:2], target=top[:2], sliding_window_shapes=shape, strides=strides, baselines=0
        )
    near(occlusion(net, x[:2], size=64, stride=50), captums[:, 0])


def _leaf(x: Tensor) -> Tensor:
    return x.clone().requires_grad_()
