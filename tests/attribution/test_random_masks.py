"""RISE: the estimate against closed forms and brute force, bounded passes, randomness, inputs and refusals."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import METHODS, rise
from convscope.attribution import random_masks as module
from convscope.attribution.random_masks import draw_masks, mask_grid, mask_sum
from convscope.errors import ConvscopeError
from tests import nets
from tests.attribution.test_gradients import words_then_image
from tests.attribution.test_soft_masks import cell_weights, drawn, seeded
from tests.untouched import watch

EXACT = {"rtol": 0, "atol": 1e-12}
FEW: Any = {"masks": 40}


# ---- the estimate ----


def _linear(size: tuple[int, int] = (8, 8)) -> tuple[nn.Module, Tensor]:
    """A network whose first logit is w . x + b, and w."""
    net = nets.linear_only()
    units = torch.eye(3 * size[0] * size[1], dtype=torch.float64).reshape(-1, 3, *size)
    return net, (net(units) - net(torch.zeros_like(units))).detach()[:, 0].reshape(3, *size)


@pytest.mark.parametrize("keep", [0.3, 0.5])
def test_fixed_masks_of_a_linear_net_have_a_closed_form(keep: float) -> None:
    """(1 / N p) sum_i (sum_m w_m x_m M_i(m) + b) M_i, with the masks of the same seed, in a loop."""
    net, weights = _linear()
    x = nets.images(2, h=8, w=8)
    bias = net(torch.zeros(1, 3, 8, 8, dtype=torch.float64))[0, 0].item()
    found = rise(net, x, target=0, masks=50, keep=keep, cells=3, score="logit", generator=seeded(5))
    masks = drawn(50, (8, 8), keep=keep, cells=3, seed=5)
    for n in range(2):
        expected = torch.zeros(8, 8, dtype=torch.float64)
        for mask in masks:
            expected += ((weights * x[n]).sum(0) * mask).sum() * mask + bias * mask
        assert torch.allclose(found[n], expected / (50 * keep), **EXACT)


def test_the_estimate_of_a_linear_net_tends_to_its_expectation() -> None:
    """Exact expectation over all cells and shifts: sum_m w_m x_m E[M(m) M] / p; 5 standard errors at each pixel.

    E[M(m) M(n)] = p^2 + p (1 - p) * the mean over shifts of sum_j w_j(m) w_j(n).
    """
    (net, weights), keep, count = _linear(), 0.5, 4000
    x = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    x[0, :, :3, 4:] = weights[:, :3, 4:]  # all that speaks for the class lies in one place

    def score(out: Tensor) -> Tensor:
        return out[:, 0] - net(torch.zeros_like(x))[0, 0]

    grid = mask_grid((8, 8), 3)
    of_cells = cell_weights(grid).flatten(2)
    second = keep**2 + keep * (1 - keep) * torch.einsum("sjm,sjn->mn", of_cells, of_cells) / len(of_cells)
    expected = ((weights * x[0]).sum(0).flatten() @ second / keep).reshape(8, 8)
    found = rise(net, x, target=score, masks=count, cells=3, generator=seeded(1))[0]
    masks = drawn(count, (8, 8), cells=3, seed=1)
    terms = score(net(x * masks[:, None])).detach()[:, None, None] * masks / keep
    assert ((found - expected).abs() < 5 * terms.std(0) / math.sqrt(count)).all()
    assert (expected - expected.mean()).abs().max() > 10 * (terms.std(0) / math.sqrt(count)).mean()


def test_a_score_that_does_not_depend_on_the_picture_gives_itself_everywhere() -> None:
    """Closed form: S times the masks' mean over p; without 1 / (N p) it would grow with N."""
    for count in (100, 4000):
        found = rise(nets.plain(), nets.images(1), target=lambda out: out[:, 0] * 0 + 3.0, masks=count, keep=0.4)
        assert torch.allclose(found[0], 3.0 * drawn(count, (12, 12), keep=0.4).mean(0) / 0.4, rtol=0, atol=1e-6)
        assert (found - 3.0).abs().max() < 5 * 3.0 * math.sqrt(0.6 / 0.4 / count)


def test_the_sum_is_a_loop() -> None:
    scores, masks = nets.images(1, 1, 1, 6).flatten(), nets.images(1, 6, 3, 4)[0]
    expected = sum(scores[i] * masks[i] for i in range(6))
    assert torch.allclose(mask_sum(scores, masks), expected, **EXACT)


def brute(net: nn.Module, x: Tensor, score: Callable[[Tensor], Tensor], masks: Tensor) -> Tensor:
    """One masked image at a time: what is hidden shows 0 of the normalised input."""
    total = torch.zeros(x.shape[2:], dtype=torch.float64)
    with torch.no_grad():
        for mask in masks:
            total += score(net((x * mask).clone())).item() * mask
    return (total / (len(masks) * 0.5))[None]


@pytest.mark.parametrize("factory", [nets.plain, nets.residual, nets.writes_input, nets.no_grad, nets.norm_dropout])
def test_networks_are_brute_force_and_the_score_is_the_probability(factory: Callable[..., nn.Module]) -> None:
    net, x, masks = factory(), nets.images(2, h=13, w=12), drawn(40, (13, 12))
    for score, read in ((None, lambda out: out.softmax(1)[:, 2]), ("logit", lambda out: out[:, 2])):
        expected = torch.cat([brute(net, x[n : n + 1], read, masks) for n in range(2)])
        asked = {} if score is None else {"score": score}
        assert torch.allclose(rise(net, x, target=2, masks=40, **asked), expected, **EXACT)


def test_units_neurons_and_functions_are_brute_force() -> None:
    """They have no probability: their own value is the score."""
    net, x, masks = nets.plain(), nets.images(1), drawn(40, (12, 12))
    assert isinstance(net, nn.Sequential)
    part = net[: [name for name, _ in net.named_children()].index("conv2") + 1]
    for target, read in (("conv2:3", lambda a: a[:, 3].mean((1, 2))), ("conv2:3@1,2", lambda a: a[:, 3, 1, 2])):
        assert torch.allclose(rise(net, x, target=target, **FEW), brute(part, x, read, masks), **EXACT)
    read = nets.images(1, 1, 1, 5).flatten()
    found = rise(net, x, target=lambda out: out @ read, **FEW)
    assert torch.allclose(found, brute(net, x, lambda out: out @ read, masks), **EXACT)
    own = nets.dict_output()
    found = rise(own, x, target=lambda out: out["logits"][:, 0], **FEW)
    assert torch.allclose(found, brute(own, x, lambda out: out["logits"][:, 0], masks), **EXACT)


@pytest.mark.parametrize("targets", [[4, 0, 2], torch.tensor([4, 0, 2]), ("4", "relu2:1", 2), None, torch.tensor(1)])
def test_a_batch_is_its_images_one_by_one_under_the_same_masks(targets: Any) -> None:
    net, x = nets.plain(), nets.images(3)
    own = targets.tolist() if isinstance(targets, Tensor) else targets
    own = own if isinstance(own, list | tuple) else [own] * 3
    single = [rise(net, x[i : i + 1], target=own[i], generator=seeded(2), **FEW) for i in range(3)]
    assert torch.allclose(rise(net, x, target=targets, generator=seeded(2), **FEW), torch.cat(single), **EXACT)


def test_without_a_target_it_is_the_top_class_of_the_whole_image() -> None:
    """The trap: each masked image's own top class."""
    net, x = nets.plain(seed=3), 5 * nets.images(6)
    top = net(x).argmax(1)
    masks = drawn(40, (12, 12))
    assert len(set(top.tolist())) > 1
    assert any((net(x * mask).argmax(1) != top).any() for mask in masks)
    assert torch.equal(rise(net, x, **FEW), rise(net, x, target=top, **FEW))


# ---- passes, randomness, memory ----


def test_the_size_of_a_batch_changes_nothing() -> None:
    net, x = nets.plain(), nets.images(2)
    one = rise(net, x, target=1, batch=1, **FEW)
    for batch in (2, 7, 32, 1000):
        assert torch.allclose(rise(net, x, target=1, batch=batch, **FEW), one, **EXACT)


class _Counting(nn.Module):
    """Remembers how many images went through at a time."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside, self.sizes = inside, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self.inside(x)


def test_no_more_masks_than_a_batch_exist_or_go_through_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    net, made = _Counting(nets.plain()), list[int]()

    def counted(count: int, *args: Any) -> Tensor:
        made.append(count)
        return draw_masks(count, *args)

    monkeypatch.setattr(module, "draw_masks", counted)
    rise(net, nets.images(3), target=0, masks=10, batch=4)
    assert net.sizes == [4, 4, 4, 4, 4, 4, 2, 2, 2]
    assert made == [4, 4, 2]
    net.sizes.clear()
    rise(net, nets.images(3), masks=10, batch=2)
    assert max(net.sizes) == 2


def test_each_step_is_told_and_the_last_is_all() -> None:
    told: list[tuple[int, int]] = []
    rise(nets.plain(), nets.images(2), target=0, masks=10, batch=4, on_step=lambda *step: told.append(step))
    assert told == [(4, 20), (8, 20), (12, 20), (16, 20), (18, 20), (20, 20)]


def test_the_same_seed_is_the_same_map_and_without_one_it_is_seed_0() -> None:
    net, x = nets.plain(), nets.images()
    found = rise(net, x, target=1, generator=seeded(7), **FEW)
    assert torch.equal(found, rise(net, x, target=1, generator=seeded(7), **FEW))
    assert not torch.allclose(found, rise(net, x, target=1, generator=seeded(8), **FEW))
    assert torch.equal(rise(net, x, target=1, **FEW), rise(net, x, target=1, generator=seeded(0), **FEW))


def test_torchs_defaults_change_no_mask() -> None:
    net, x = nets.gap_linear(), nets.images()
    expected = rise(net, x, **FEW)
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.equal(rise(net, x, **FEW), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert torch.equal(rise(net, x, **FEW), expected)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_is_passed_on_and_leaves_nothing(error: type[BaseException]) -> None:
    """The autouse fixture is the oracle; a second call gives the same map as an undisturbed one."""
    net, x = nets.norm_dropout(train=True), nets.images(2)

    def interrupt(done: int, every: int) -> None:
        if done > every / 3:
            raise error

    with pytest.raises(error):
        rise(net, x, batch=2, on_step=interrupt, **FEW)
    assert torch.equal(rise(net, x, **FEW), rise(nets.norm_dropout(), x, **FEW))


# ---- inputs, surroundings, refusals ----


def test_the_other_inputs_repeat_with_the_masks() -> None:
    net, image, words = words_then_image(), nets.images(3), torch.tensor([[1, 2, 3], [0, 6, 6], [5, 5, 4]])
    by_place = rise(net, (words, image), wrt=1, target=0, **FEW)
    assert torch.equal(rise(net, {"words": words, "image": image}, wrt="image", target=0, **FEW), by_place)
    masks = drawn(40, (12, 12))
    for i in range(3):
        alone = brute(
            lambda x, i=i: net(words[i : i + 1], x), image[i : i + 1], lambda out: out.softmax(1)[:, 0], masks
        )
        assert torch.allclose(by_place[i : i + 1], alone, **EXACT)


@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_frozen_parameters_and_modes_around_do_not_stop_it(surroundings: Callable[[], Any]) -> None:
    expected = rise(nets.plain(), nets.images(), **FEW)
    with surroundings():
        found = rise(nets.plain(), nets.images(), **FEW)
        assert not found.requires_grad
        assert torch.equal(found, expected)
    assert torch.equal(rise(nets.frozen(), nets.images(), **FEW), expected)


@pytest.mark.parametrize(("dtype", "share"), [(torch.float16, 2e-2), (torch.bfloat16, 1e-1)])
def test_half_precision_is_near_single_and_comes_back_as_single(dtype: torch.dtype, share: float) -> None:
    """The masks are the same in every precision."""
    single = rise(nets.plain(dtype=torch.float32), nets.images(dtype=torch.float32), target=1, **FEW)
    found = rise(nets.plain(dtype=dtype), nets.images(dtype=dtype), target=1, **FEW)
    assert found.dtype == single.dtype == torch.float32
    assert (found - single).abs().max() <= share * single.abs().max()
    assert torch.allclose(single.double(), rise(nets.plain(), nets.images(), target=1, **FEW), rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_image_and_one_of_a_pixel_have_a_map(value: float) -> None:
    net = nets.gap_linear()
    found = rise(net, torch.full((1, 3, 12, 12), value, dtype=torch.float64), target=1, **FEW)
    assert (found > 0).all()
    shares = rise(net, nets.images(1, h=2, w=2), target=1, **FEW)
    assert shares.shape == (1, 2, 2)
    assert rise(_Sum(), nets.images(1, h=1, w=1), target=0, score="logit", **FEW).isfinite().all()


class _Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3))


def test_a_score_of_zero_gives_a_zero_map_and_the_table_says_why() -> None:
    found = rise(nets.plain(), nets.images(), target=lambda out: out[:, 0] * 0, **FEW)
    assert found.eq(0).all()
    assert "0 under every mask" in METHODS["rise"].zero


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"masks": 0}, "masks=0: at least one mask"),
        ({"keep": 0.0}, "keep=0.0: a mask shows a share"),
        ({"keep": 1.0}, "keep=1.0: a mask shows a share"),
        ({"keep": float("nan")}, "keep=nan"),
        ({"keep": 1e-9, "masks": 40}, "keep=1e-09: none of 40 masks shows any of"),
        ({"cells": 0}, "cells=0: a mask has at least one cell"),
        ({"cells": (3, 0)}, r"cells=\(3, 0\)"),
        ({"batch": 0}, "batch=0: at least one image"),
        ({"target": 99}, "class 99 was asked for, but the network has 5 classes"),
        ({"target": [1, 2, 3]}, "3 targets for 2 images"),
        ({"score": "loss"}, "score 'loss' is neither"),
        ({"x": nets.images(2)[0]}, r"has shape \(3, 12, 12\); it must be \(b, c, H, W\)"),
        ({"x": nets.images(2)[:0]}, "a batch of no images"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    given = {"x": nets.images(2), **options}
    with pytest.raises(ConvscopeError, match=says):
        rise(nets.gap_linear(), **given)


@pytest.mark.parametrize("given", [(2.5, 0.5, 32), (4000, 0.5, 2.5), ("40", 0.5, 32)])
def test_counts_are_whole_numbers(given: Any) -> None:
    unchecked = inspect.unwrap(module._check)  # the type check of the tests would refuse it first
    with pytest.raises(ConvscopeError, match=r"(masks|batch)='?(2.5|40)'?: give a whole number"):
        unchecked(*given)
    unchecked(np.int64(40), 0.5, 32)


def test_few_masks_of_which_some_are_empty_have_a_map() -> None:
    assert rise(nets.gap_linear(), nets.images(), keep=0.005, **FEW).any()


@pytest.mark.parametrize("cells", [2.5, (3,), (1, 2, 3), "77", None])
def test_what_is_no_grid_is_refused(cells: Any) -> None:
    unchecked = inspect.unwrap(mask_grid)  # the type check of the tests would refuse it first
    with pytest.raises(ConvscopeError, match="give a whole number, or two as"):
        unchecked((12, 12), cells)
    assert unchecked((12, 12), np.int64(3)) == mask_grid((12, 12), 3)


def test_the_probability_of_the_only_class_is_refused() -> None:
    net = nets.gap_linear()
    linear = net.get_submodule("linear")
    linear.weight.data, linear.bias.data = linear.weight.data[:1], linear.bias.data[:1]
    watch(net)
    with pytest.raises(ConvscopeError, match="the probability of the only class is always 1"):
        rise(net, nets.images(), target=0)
    assert rise(net, nets.images(), target=0, score="logit", **FEW).any()
