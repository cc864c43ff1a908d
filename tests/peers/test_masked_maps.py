"""grad-cam 1.5.7's Ablation-CAM and Score-CAM where they follow the papers, and where they do not.

Ablation-CAM: the same weights for scores above 0 on layers whose smallest value is 0. It divides by y in place of |y|,
so that a negative score turns the map round, and sets a channel of a layer with negative values to the layer's minimum
less 1e7 in place of 0. It computes in float32 through numpy scalars.

Score-CAM: the same for masks that are enlarged in the same way. It enlarges with aligned corners, which differs, and
gives a flat channel the empty mask 0 / 1e-8, whose score takes part in the softmax. With the map at the image's size
nothing is enlarged and the two agree.

What is compared is ``get_cam_weights``: their maps are scaled twice. It replaces layers, so it gets a copy.
"""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import ablation_cam, score_cam
from convscope.network.picture_folders import find_images
from convscope.network.pictures import read_image
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from tests import nets, oracles

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed (the extra 'peers')")

pytestmark = pytest.mark.peers


@pytest.fixture(autouse=True)
def without_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """They draw progress bars, and one as a module in place of a function."""
    for name in ("ablation_cam", "score_cam"):
        part = sys.modules[f"pytorch_grad_cam.{name}"]
        monkeypatch.setattr(part.tqdm, "tqdm", lambda steps: steps)


def theirs(method: str, net: nn.Module, x: Tensor, targets: list[int], layer: str) -> Tensor:
    """``(b, h, w)``, signed, before the ReLU."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    own = copy.deepcopy(net)
    part, seen = own.get_submodule(layer), list[Tensor]()
    handle = part.register_forward_hook(lambda _m, _a, out: seen.append(out.detach().clone()))
    with torch.no_grad():
        own(x.clone())
    handle.remove()
    aims = [ClassifierOutputTarget(target) for target in targets]
    with getattr(pytorch_grad_cam, method)(model=own, target_layers=[part]) as cam, torch.no_grad():
        acts: Any = seen[0] if method == "AblationCAM" else seen[0].numpy()
        weights = cam.get_cam_weights(x, part, aims, acts, None)
    return torch.einsum("bk,bkhw->bhw", torch.from_numpy(np.asarray(weights)).float(), seen[0])


def near(found: Tensor, expected: Tensor, share: float) -> None:
    assert found.shape == expected.shape
    largest = expected.abs().flatten(1).amax(1)
    assert largest.all(), "a map of the peer's is zero: nothing is compared"
    assert ((found - expected).abs().flatten(1).amax(1) <= share * largest).all()


# ---- Ablation-CAM ----

RECTIFIED = [(nets.plain, "relu2"), (nets.plain, "relu1"), (nets.gap_linear, "relu2"), (nets.norm_dropout, "relu1")]


def _raised(factory: Callable[..., nn.Module], by: float) -> nn.Module:
    """Float32, with logits all above 0 (or below it)."""
    net = factory(dtype=torch.float32)
    [*(part for part in net.modules() if isinstance(part, nn.Linear))][-1].bias.data += by
    return nets.hard_net(lambda: net)(dtype=torch.float32)


@pytest.mark.parametrize(("factory", "layer"), RECTIFIED)
def test_ablation_cam_where_the_score_is_positive(factory: Callable[..., nn.Module], layer: str) -> None:
    net, x = _raised(factory, 3.0), nets.images(3, dtype=torch.float32)
    assert (net(x) > 0).all()
    found = ablation_cam(net, x, target=[1, 4, 0], layer=layer, relu=False)
    near(found, theirs("AblationCAM", net, x, [1, 4, 0], layer), 1e-4)


@pytest.mark.parametrize(("factory", "layer"), RECTIFIED)
def test_ablation_cam_of_a_negative_score_is_theirs_turned_round(factory: Callable[..., nn.Module], layer: str) -> None:
    """Theirs divides by y: what speaks for the class is negative there."""
    net, x = _raised(factory, -3.0), nets.images(3, dtype=torch.float32)
    assert (net(x) < 0).all()
    found = ablation_cam(net, x, target=[1, 4, 0], layer=layer, relu=False)
    near(found, -theirs("AblationCAM", net, x, [1, 4, 0], layer), 1e-4)


def test_ablation_cam_of_a_layer_with_negative_values_is_not_theirs() -> None:
    """Theirs puts about -1e7 where the paper has 0: the ReLU above hides that, but not what a batch norm makes of 0."""
    net, x = _raised(nets.plain, 3.0), nets.images(1, dtype=torch.float32)
    near(ablation_cam(net, x, target=1, layer="conv1", relu=False), theirs("AblationCAM", net, x, [1], "conv1"), 1e-4)
    net = _raised(nets.norm_dropout, 3.0)
    found = ablation_cam(net, x, target=1, layer="conv1", relu=False)
    assert (found - theirs("AblationCAM", net, x, [1], "conv1")).abs().max() > 0.2 * found.abs().max()


# ---- Score-CAM ----


@pytest.mark.parametrize(("factory", "layer"), [(nets.norm_dropout, "norm1"), (nets.norm_dropout, "conv1")])
def test_score_cam_of_a_map_at_the_images_size(factory: Callable[..., nn.Module], layer: str) -> None:
    net, x = factory(dtype=torch.float32), nets.images(3, dtype=torch.float32)
    assert isinstance(net, nn.Sequential)
    acts = oracles.forward_by_hand(net, x)[[n for n, _ in net.named_children()].index(layer) + 1]
    assert acts.shape[2:] == x.shape[2:]
    assert (acts.amax((2, 3)) > acts.amin((2, 3))).all()
    near(
        score_cam(net, x, target=[1, 4, 0], layer=layer, relu=False), theirs("ScoreCAM", net, x, [1, 4, 0], layer), 1e-4
    )


def test_score_cam_of_a_smaller_map_is_near_theirs_with_aligned_corners() -> None:
    net, x = nets.gap_linear(dtype=torch.float32), nets.images(2, dtype=torch.float32)
    found, peer = score_cam(net, x, target=1, layer="relu2"), theirs("ScoreCAM", net, x, [1, 1], "relu2")
    near(found, peer, 0.1)
    assert not torch.allclose(found, peer, rtol=1e-5)


def test_score_cam_with_a_flat_channel_is_theirs_without_its_weight() -> None:
    """Their epsilon makes the flat channel's mask 0 and lets it weigh; leaving it out scales the others up."""
    net, x = nets.norm_dropout(dtype=torch.float32), nets.images(1, dtype=torch.float32)
    net.get_submodule("norm1").weight.data[2] = 0.0
    net.get_submodule("norm1").bias.data[2] = 0.0  # on a channel of zeros: its weight does not show by itself
    nets.hard_net(lambda: net)(dtype=torch.float32)
    found, peer = score_cam(net, x, target=1, layer="relu1"), theirs("ScoreCAM", net, x, [1], "relu1")
    ratio = found / peer
    assert ratio.min() > 1.05
    assert torch.allclose(ratio, ratio.mean().expand_as(ratio), rtol=1e-4)


# ---- a real network ----


def test_ablation_cam_on_squeezenet(squeezenet: nn.Module, shared: Path) -> None:
    """A class of positive logit, at a layer that ends in a concatenation of rectified maps."""
    prepare = Preprocess(size=128, crop=112, mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bilinear")
    x = torch.cat([prepare(read_image(photo)) for photo in find_images(shared / "data" / "imagenet_photos")[7:8]])
    top = squeezenet(x).argmax(1).tolist()
    found = ablation_cam(squeezenet, x, layer="features.12", relu=False)
    near(found, theirs("AblationCAM", squeezenet, x, top, "features.12"), 1e-3)
