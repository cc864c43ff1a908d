"""Captum 0.9's integrated gradients and noise tunnel compute the same: to 1e-5 of a map's maximum.

The noise tunnel draws from torch's global state in an order of its own; here it is handed the noise that convscope
draws.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import integrated_gradients, integrated_gradients_and_gap, smooth_grad, var_grad
from convscope.attribution.noisy_gradients import draw_noise, noise_sigma
from convscope.network.picture_folders import find_images
from convscope.network.pictures import read_image
from convscope.network.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from tests import nets

captum = pytest.importorskip("captum.attr", reason="captum is not installed (the extra 'peers')")

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:Input Tensor .* did not already require gradients:UserWarning"),
]
FACTORIES = [
    nets.plain,
    nets.functional_relu,
    nets.reused_relu,
    nets.overlapping_pool,
    nets.residual,
    nets.norm_dropout,
]
NET = pytest.mark.parametrize("factory", FACTORIES)


def near(found: Tensor, captums: Tensor, share: float = 1e-5) -> None:
    """Each image's map within ``share`` of Captum's largest magnitude in it."""
    assert found.shape == captums.shape
    largest = captums.detach().abs().flatten(1).amax(1)
    difference = (found - captums.detach()).abs().flatten(1).amax(1)
    assert largest.all(), "a map of Captum's is all zero: nothing is compared"
    assert (difference <= share * largest).all(), f"differences {difference.tolist()} of maxima {largest.tolist()}"


@NET
@pytest.mark.parametrize("steps", [4, 50])
def test_integrated_gradients(factory: Callable[..., nn.Module], steps: int) -> None:
    net, x = factory(), nets.images(3)
    for baseline in (0, nets.images(3, seed=8)):
        captums, delta = captum.IntegratedGradients(net).attribute(
            x, baselines=baseline, target=[1, 4, 0], n_steps=steps, method="gausslegendre",
            return_convergence_delta=True,
        )  # fmt: skip
        values, gap = integrated_gradients_and_gap(net, x, target=[1, 4, 0], baseline=baseline, steps=steps)
        near(values, captums)
        assert torch.allclose(gap, -delta.to(gap), rtol=0, atol=1e-6)  # the other way round: sum - difference


@NET
@pytest.mark.parametrize(("kind", "method"), [("smoothgrad", smooth_grad), ("vargrad", var_grad)])
def test_noise_tunnel(
    factory: Callable[..., nn.Module], kind: str, method: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image after the other: Captum has one sigma for a batch. Its variance is a difference of large sums."""
    net = factory()
    for target, x in enumerate(nets.images(3).split(1)):
        found = method(net, x, target=target, samples=8)
        _hand_over_noise(monkeypatch, draw_noise(8, x, torch.Generator().manual_seed(0)).to(x))
        tunnel = captum.NoiseTunnel(captum.Saliency(net))
        sigma = noise_sigma(x, 0.15)
        captums = tunnel.attribute(x, nt_type=kind, nt_samples=8, stdevs=sigma, target=target, abs=False)
        monkeypatch.undo()
        near(found, captums)


def _hand_over_noise(monkeypatch: pytest.MonkeyPatch, noise: Tensor) -> None:
    def normal(mean: float, std: Tensor, *_: Any) -> Tensor:
        assert mean == 0
        assert std.shape == noise.shape
        return std * noise

    monkeypatch.setattr(torch, "normal", normal)


def test_squeezenets_integrated_gradients(squeezenet: nn.Module, shared: Path) -> None:
    """Real weights, real photos; float32, whose rounding in another order of batches moves ReLUs across zero."""
    prepare = Preprocess(size=128, crop=112, mean=IMAGENET_MEAN, std=IMAGENET_STD, interpolation="bilinear")
    x = torch.cat([prepare(read_image(photo)) for photo in find_images(shared / "data" / "imagenet_photos")[7::90]])
    top = squeezenet(x).argmax(1).tolist()
    peer = captum.IntegratedGradients(squeezenet)
    captums = peer.attribute(x, target=top, n_steps=8, method="gausslegendre", internal_batch_size=8).float()
    near(integrated_gradients(squeezenet, x, steps=8), captums, 1e-4)
