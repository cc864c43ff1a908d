"""Inversion against closed forms: a convolution that can be undone, a ridge regression; batches, seeds, resumption."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.synthesis.ascent import Step
from convscope.synthesis.inversion import (
    LARGEST_CELL,
    LAST_SHARE,
    Inverting,
    cell_px,
    features_of,
    invert_features,
)
from convscope.synthesis.objectives import match
from convscope.synthesis.regularisers import total_variation
from tests import nets
from tests.nets import hard_net
from tests.synthesis.test_ascent import seeded
from tests.untouched import watch

BARE = {"tv": 0, "lp": 0}


@hard_net
def undoable(scale: float = 1.0) -> nn.Sequential:
    """A circular 3 x 3 convolution that is near the identity, so that it has an inverse."""
    conv = nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular", bias=True)
    with torch.no_grad():
        conv.weight.mul_(0.05)
        conv.weight[range(3), range(3), 1, 1] += 1
        conv.weight.mul_(scale)
        conv.bias.mul_(scale)
    return nn.Sequential(conv)


@hard_net
def fully_connected() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 6))


def photos(b: int = 1, side: int = 6) -> Tensor:
    """In [0, 1], away from the ends."""
    return torch.sigmoid(nets.images(b, 3, side, side))


def inverted(net: nn.Module, layer: str, x: Tensor, **options: Any) -> list[Step]:
    run = {name: options.pop(name) for name in ("state", "seed") if name in options}
    return list(
        invert_features(
            net, layer, features_of(net, x, layer),
            c=3, size=(x.shape[2], x.shape[3]), to_input=lambda image: image,
            generator=seeded(run.get("seed", 0)), how=Inverting(**options), state=run.get("state"), dtype=torch.float64,
        )
    )  # fmt: skip


def test_an_invertible_convolution_gives_the_photo_back() -> None:
    """Float64: nothing is forgotten, so nothing but the photo has its features."""
    x = photos(side=4)
    for image in ("pixels", "fourier"):
        end = inverted(undoable(), "0", x, **BARE, steps=500, image=image, rate=1.0)[-1]
        assert torch.allclose(end.image, x, rtol=0, atol=1e-8)
        assert -end.scores.item() < 1e-16


def test_a_linear_layer_with_a_ridge_has_the_closed_form() -> None:
    """min |W x + b - f|^2 / |f|^2 + a |x - 1/2|^2 / (H W) over 48 pixels, of which the layer sees 6 mixtures."""
    net, x, weight = fully_connected(), photos(side=4), 3.0
    w, b = (p.detach() for p in net[1].parameters())
    f = features_of(net, x, "1")[0]
    n, cell = f.square().sum(), weight / 16
    left = w.mT @ w / n + cell * torch.eye(48, dtype=torch.float64)
    right = w.mT @ (f - b) / n + cell * 0.5 * torch.ones(48, dtype=torch.float64)
    expected = torch.linalg.solve(left, right).reshape(1, 3, 4, 4)
    assert 0.02 < (expected - 0.5).abs().max() < 0.45  # far enough from grey to tell
    end = inverted(net, "1", x, tv=0, lp=weight, lp_power=2, steps=1500, rate=0.2)[-1]
    assert torch.allclose(end.image, expected, rtol=0, atol=1e-5)


def test_scores_are_minus_the_error_without_regularisers_from_grey_to_the_end() -> None:
    net, x = nets.plain(), photos(2, 12)
    steps = inverted(net, "conv2", x, tv=50, lp=10, steps=3)
    wanted = features_of(net, x, "conv2")
    for step in steps:
        features = features_of(net, step.image, "conv2")
        by_hand = [float(((f - w) ** 2).sum() / (w**2).sum()) for f, w in zip(features, wanted, strict=True)]
        assert torch.allclose(-step.scores, torch.tensor(by_hand, dtype=torch.float64), rtol=1e-12)
        live = match("conv2", wanted).score({"conv2": features}, None)
        assert torch.allclose(live, step.scores, rtol=1e-12)
    assert (steps[0].image - 0.5).abs().max() < 0.05


def test_the_size_of_the_features_changes_nothing() -> None:
    """Their squared length is divided out, so that one weight serves every layer."""
    x = photos()
    one, thousand = (inverted(undoable(s), "0", x, steps=20)[-1].image for s in (1.0, 1000.0))
    assert torch.allclose(one, thousand, rtol=0, atol=1e-6)


def test_a_stronger_variation_gives_a_smoother_picture_and_a_larger_error() -> None:
    net, x = undoable(), photos(side=4)
    ends = [inverted(net, "0", x, tv=tv, lp=0, steps=300, rate=1.0)[-1] for tv in (0, 0.1, 1, 10)]
    rough = [float(end.image.diff(dim=3).square().sum()) for end in ends]
    errors = [-end.scores.item() for end in ends]
    assert rough == sorted(rough, reverse=True)
    assert errors == sorted(errors)
    assert errors[0] < 1e-6 < errors[1]


def test_a_batch_is_so_many_single_runs() -> None:
    net, x = nets.plain(), photos(3, 12)
    together = inverted(net, "relu1", x, steps=6)[-1]
    for i in range(3):
        alone = inverted(net, "relu1", x[i : i + 1], steps=6)[-1]
        assert torch.allclose(together.image[i], alone.image[0], rtol=0, atol=1e-12)
        assert torch.allclose(together.scores[i], alone.scores[0], rtol=1e-12)


def test_the_seed_is_the_start() -> None:
    net, x = nets.plain(), photos(1, 12)
    first, again, other = (inverted(net, "conv2", x, steps=4, seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].image, other[0].image)


@pytest.mark.parametrize("broken_off", [0, 1, 17, 20])
def test_a_run_that_was_broken_off_ends_at_the_same_bits(broken_off: int) -> None:
    """The start lets shut rectifiers through for so many steps, and the rate falls: both by the number of the step."""
    net, x = nets.plain(), photos(1, 12)
    whole = inverted(net, "conv2", x, steps=20)
    state = {name: tensor.clone() for name, tensor in whole[broken_off].state().items()}
    rest = inverted(net, "conv2", x, steps=20, state=state, seed=9)
    assert [step.step for step in rest] == list(range(broken_off, 21))
    assert torch.equal(rest[-1].image, whole[-1].image)
    assert torch.equal(rest[-1].scores, whole[-1].scores)


@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_one_function_has_one_inversion_however_its_rectifiers_are_written(factory) -> None:
    x = photos(1, 12)
    expected = inverted(nets.plain(), "conv2", x, steps=5)[-1]
    found = inverted(factory(), "conv2", x, steps=5)[-1]
    assert torch.allclose(found.image, expected.image, rtol=0, atol=1e-12)


def test_the_rate_falls_along_half_a_cosine() -> None:
    how = Inverting(steps=10, rate=0.4)
    rates = [how.rate_at(i) for i in range(11)]
    assert rates[0] == pytest.approx(0.4)
    assert rates[5] == pytest.approx(0.4 * (LAST_SHARE + (1 - LAST_SHARE) / 2))
    assert rates[10] == pytest.approx(0.4 * LAST_SHARE)
    assert all(a > b for a, b in itertools.pairwise(rates))
    assert Inverting(steps=0).rate_at(0) > 0


def test_the_variation_weighs_as_much_more_as_a_layers_cells_are_larger() -> None:
    """12 x 12 pixels: a convolution of the same size, maps of 6 x 6, a mean; 32 at most."""
    net, x, image = nets.gap_linear(), photos(1, 12), photos(1, 40)
    for layer, side in (("conv1", 1), ("pool1", 2), ("linear", 12)):
        assert cell_px(features_of(net, x, layer), (12, 12), layer) == pytest.approx(side)
    one = total_variation(2)(image)
    for side, times in ((1, 1), (7.5, 7.5), (400, LARGEST_CELL)):
        ((weight, variation),) = Inverting(tv=0.3, lp=0).penalties(side)
        assert weight * variation(image) == pytest.approx(0.3 * times * one)
    assert Inverting(tv=0, lp=0).penalties(3) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image": "fuorier"}, "did you mean 'fourier'"),
        ({"steps": -1}, "steps=-1"),
        ({"tv": -0.1}, "tv=-0.1"),
        ({"lp": math.nan}, "lp=nan"),
        ({"rate": 0.0}, "rate=0.0"),
        ({"tv_beta": 0.5}, "beta=0.5"),
        ({"lp_power": 0.5}, "p=0.5"),
    ],
)
def test_settings_that_are_none_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConvscopeError, match=said):
        Inverting(**options)


def test_a_layer_without_features_and_one_that_is_not_there_are_refused() -> None:
    net, x = nets.plain(), photos(1, 12)
    with torch.no_grad():
        net.conv1.bias.fill_(-100.0)
    watch(net)
    with pytest.raises(ConvscopeError, match=r"relu1.*all zero"):
        inverted(net, "relu1", x)
    with pytest.raises(ConvscopeError, match="no layer 'conv3'"):
        features_of(net, x, "conv3")
