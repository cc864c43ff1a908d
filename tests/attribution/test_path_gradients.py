"""Integrated gradients against closed forms, slow sums along the path, and completeness."""

import inspect
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import (
    METHODS,
    gradient,
    integrated_gradients,
    integrated_gradients_and_gap,
    path_gradients,
    reduce_channels,
)
from convscope.attribution.fillings import blur
from convscope.attribution.path_gradients import completeness_gap, gauss_legendre
from convscope.errors import ConvscopeError
from tests import nets, oracles
from tests.attribution.test_gradients import autograd, one_linear_layer, words_then_image
from tests.attribution.test_noisy_gradients import _Counting

EXACT = {"rtol": 0, "atol": 1e-12}


def slow(slope: Callable[[Tensor], Tensor], x: Tensor, start: Tensor | float = 0.0, *, steps: int = 50) -> Tensor:
    """Sundararajan et al. 2017, eq. 1, one image and one node at a time, with numpy's nodes on (-1, 1)."""
    values = torch.zeros_like(x)
    start = torch.as_tensor(start, dtype=x.dtype).expand_as(x)
    for i in range(len(x)):
        image, base = x[i : i + 1], start[i : i + 1]
        for node, weight in zip(*np.polynomial.legendre.leggauss(steps), strict=True):
            point = base + float(node + 1) / 2 * (image - base)
            values[i] += float(weight) / 2 * slope(point)[0]
        values[i] *= x[i] - start[i]
    return values


@nets.hard_net
def smooth_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 6, 3), nn.Softplus(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(24, nets.CLASSES),
    )  # fmt: skip


class _Polynomial(nn.Module):
    """S = (a . x)^degree: the gradient on a straight path is a polynomial of degree - 1."""

    def __init__(self, degree: int) -> None:
        super().__init__()
        self.degree = degree

    @staticmethod
    def slopes(x: Tensor) -> Tensor:
        return torch.linspace(-1, 1, x[0].numel(), dtype=x.dtype).reshape(x.shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        return ((self.slopes(x) * x).sum((1, 2, 3)) ** self.degree)[:, None]


# ---- nodes ----


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 50])
def test_nodes_integrate_polynomials_exactly(steps: int) -> None:
    """Closed form: the integral of t^k from 0 to 1 is 1 / (k + 1) for k up to 2 n - 1, not beyond; numpy's nodes."""
    nodes, weights = gauss_legendre(steps)
    assert nodes.dtype == weights.dtype == torch.float64
    assert ((nodes > 0) & (nodes < 1)).all()
    for k in range(2 * steps):
        assert float((weights * nodes**k).sum()) == pytest.approx(1 / (k + 1), abs=1e-13)
    if steps < 8:
        assert abs(float((weights * nodes ** (2 * steps)).sum()) - 1 / (2 * steps + 1)) > 1e-5
    theirs = np.polynomial.legendre.leggauss(steps)
    assert np.allclose(2 * nodes.numpy() - 1, theirs[0], rtol=0, atol=1e-14)
    assert np.allclose(2 * weights.numpy(), theirs[1], rtol=0, atol=1e-14)


def test_memory_grows_with_the_nodes_and_not_with_their_square() -> None:
    """Closed form: the integral of t^k from 0 to 1 is 1 / (k + 1); an n x n matrix of doubles would take 32 MB."""
    tracemalloc.start()
    try:
        nodes, weights = gauss_legendre(2000)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
    assert (nodes.diff() > 0).all()
    for k in range(5):
        assert float((weights * nodes**k).sum()) == pytest.approx(1 / (k + 1), abs=1e-13)


# ---- closed forms ----


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize("baseline", [None, "mean", 0.5, [0.1, -2.0, 3.0], "image"])
def test_a_linear_net_has_its_weights_times_the_difference(steps: int, baseline: Any) -> None:
    """Closed form: (x - x') W_k, exactly, with one node; the gap is 0."""
    net, x = one_linear_layer(), nets.images(2, h=6, w=6)
    weights = net[1].weight.detach()[3].reshape(1, 3, 6, 6)
    other = nets.images(2, h=6, w=6, seed=9)
    start = {"image": other}.get(baseline, baseline) if isinstance(baseline, str) else baseline
    x0 = (
        other
        if baseline == "image"
        else torch.as_tensor(0.0 if baseline in (None, "mean") else baseline, dtype=x.dtype)
    )
    x0 = x0.reshape(1, 3, 1, 1) if x0.numel() == 3 else x0
    values, gap = integrated_gradients_and_gap(net, x, target=3, baseline=start, steps=steps)
    assert torch.allclose(values, (x - x0) * weights, **EXACT)
    assert gap.abs().max() < 1e-12


@pytest.mark.parametrize(("degree", "steps"), [(2, 1), (3, 2), (4, 2), (5, 3), (6, 3)])
def test_a_polynomial_needs_half_as_many_nodes_as_its_degree(degree: int, steps: int) -> None:
    """Closed form for S = (a . x)^d from x' = 0: x a (a . x)^(d - 1); one node less misses it."""
    net, x = _Polynomial(degree), nets.images(2, 2, 3, 4)
    s = (net.slopes(x) * x).sum((1, 2, 3))
    expected = x * net.slopes(x) * (s ** (degree - 1))[:, None, None, None]
    values, gap = integrated_gradients_and_gap(net, x, target=0, steps=steps)
    assert torch.allclose(values, expected, rtol=1e-12, atol=0)
    assert (gap.abs() <= 1e-12 * s.abs() ** degree).all()
    if steps > 1:
        assert (
            integrated_gradients_and_gap(net, x, target=0, steps=steps - 1)[1].abs() > 1e-3 * s.abs() ** degree
        ).all()


def test_a_quadratic_net_from_any_baseline() -> None:
    """Closed form for S = (a . x)^2: (x - x') a (a . x + a . x')."""
    net, x, x0 = _Polynomial(2), nets.images(2, 2, 3, 4), nets.images(1, 2, 3, 4, seed=4)
    a = net.slopes(x)
    both = ((a * x).sum((1, 2, 3)) + (a * x0).sum((1, 2, 3)))[:, None, None, None]
    found = integrated_gradients(net, x, target=0, baseline=x0, steps=1)
    assert torch.allclose(found, (x - x0) * a * both, **EXACT)


# ---- slow sums ----


@pytest.mark.parametrize("factory", [nets.plain, nets.overlapping_pool, nets.strided, nets.gap_linear])
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_networks_are_the_slow_sum(factory: Callable[..., nn.Sequential], steps: int) -> None:
    """Replica: hand-written backward passes, one node at a time."""
    net, x = factory(), nets.images(2, h=9, w=11)
    expected = slow(lambda x: oracles.gradient(net, x, 3), x, steps=steps)
    assert torch.allclose(integrated_gradients(net, x, target=3, steps=steps), expected, **EXACT)


@pytest.mark.parametrize(
    "factory",
    [*nets.SAME_WEIGHTS, nets.residual, nets.skip, nets.view_write, nets.frozen, nets.norm_dropout, nets.shared_conv],
)
def test_hard_nets_are_the_slow_sum(factory: Callable[..., nn.Module]) -> None:
    net, x = factory(), nets.images()
    expected = slow(lambda x: autograd(lambda x: net(x)[:, 1], x), x, 0.3, steps=6)
    assert torch.allclose(integrated_gradients(net, x, target=1, baseline=0.3, steps=6), expected, **EXACT)


def test_the_blurred_image_may_be_the_baseline() -> None:
    net, x = nets.plain(), nets.images(h=20, w=24)
    soft = blur(x, 0.05 * 20)
    expected = slow(lambda x: oracles.gradient(net, x, 1), x, soft, steps=4)
    assert torch.allclose(integrated_gradients(net, x, target=1, baseline="blur", steps=4), expected, **EXACT)


def test_units_callables_and_probabilities_are_the_slow_sum() -> None:
    net, x = nets.plain(), nets.images()
    cases: list[tuple[dict[str, Any], Callable[[Tensor], Tensor]]] = [
        ({"target": "conv2:3"}, lambda x: net[:4](x)[:, 3].mean((1, 2))),
        ({"target": "conv2:3@2,1"}, lambda x: net[:4](x)[:, 3, 2, 1]),
        ({"target": lambda out: out[:, 1] - out[:, 2]}, lambda x: net(x)[:, 1] - net(x)[:, 2]),
        ({"target": 2, "score": "probability"}, lambda x: net(x).softmax(1)[:, 2]),
    ]
    for asked, score in cases:
        expected = slow(lambda x, score=score: autograd(score, x), x, steps=5)
        values, gap = integrated_gradients_and_gap(net, x, steps=5, **asked)
        assert torch.allclose(values, expected, **EXACT)
        difference = (score(x) - score(torch.zeros_like(x))).detach()
        assert torch.allclose(gap, difference - expected.sum((1, 2, 3)), **EXACT)


# ---- completeness ----


@pytest.mark.parametrize("factory", [smooth_net, nets.gelu_only, nets.plain, nets.residual])
@pytest.mark.parametrize("baseline", [None, 1.0])
def test_the_gap_is_what_the_map_misses_of_the_difference(factory: Callable[..., nn.Module], baseline: Any) -> None:
    """By hand: S(x) - S(x') - sum, of the classes that were explained."""
    net, x = factory(), nets.images(3)
    top = net(x).argmax(1)
    values, gap = integrated_gradients_and_gap(net, x, baseline=baseline, steps=3)
    start = torch.full_like(x, baseline or 0.0)
    difference = (net(x) - net(start)).gather(1, top[:, None])[:, 0].detach()
    assert torch.allclose(gap, difference - values.sum((1, 2, 3)), **EXACT)
    assert torch.allclose(gap, completeness_gap(values, difference), **EXACT)
    assert torch.equal(values, integrated_gradients(net, x, baseline=baseline, steps=3))


def _left_sum_gap(net: nn.Module, x: Tensor, target: int, steps: int) -> Tensor:
    total = sum(gradient(net, x * (k / steps), target=target) for k in range(steps))
    difference = (net(x) - net(torch.zeros_like(x)))[:, target].detach()
    return (difference - (x * total / steps).sum((1, 2, 3))).abs()


def test_a_smooth_net_is_complete_after_few_steps() -> None:
    """The gap falls to rounding, where left sums at 50 steps are far off."""
    net, x = smooth_net(), nets.images(4)
    assert integrated_gradients_and_gap(net, x, target=1, steps=50)[1].abs().max() < 1e-10
    assert _left_sum_gap(net, x, 1, 50).min() > 1e-5


def test_a_relu_nets_gap_is_smaller_than_that_of_left_sums() -> None:
    """At 50 steps, over 8 seeds of a plain net and 4 images each; a staircase, so that it is not zero."""
    ours, lefts = list[Tensor](), list[Tensor]()
    for seed in range(8):
        net, x = nets.plain(seed=seed), nets.images(4, seed=seed)
        ours.append(integrated_gradients_and_gap(net, x, target=1)[1].abs())
        lefts.append(_left_sum_gap(net, x, 1, 50))
    assert torch.cat(ours).median() < 0.7 * torch.cat(lefts).median()


def test_more_steps_shrink_the_gap() -> None:
    net, x = nets.plain(), nets.images(8)
    gaps = [float(integrated_gradients_and_gap(net, x, target=1, steps=n)[1].abs().mean()) for n in (2, 20, 200)]
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2]


def test_the_gap_of_many_pixels_is_summed_in_double() -> None:
    values = torch.full((1, 3, 200, 200), 0.1)
    exact = 12000.0 - 120000 * float(torch.tensor(0.1))
    assert float(completeness_gap(values, torch.tensor([12000.0]))) == pytest.approx(exact, rel=1e-6)


def test_the_table_reports_difference_and_gap() -> None:
    """Oracle: the two functions; and that the measures are of the unreduced values."""
    net, x = nets.plain(), nets.images()
    method = METHODS["integrated-gradients"]
    for options in ({}, {"reduce": "max-abs"}, {"steps": 5, "baseline": 1.0, "target": 2}):
        values, measures = method.measured(net, x, **options)
        expected, gap = integrated_gradients_and_gap(net, x, **options)
        assert torch.equal(values, expected)
        assert torch.equal(values, method(net, x, **options))
        assert list(measures) == ["score difference", "completeness gap"]
        assert torch.equal(measures["completeness gap"], gap)
    difference = (net(x) - net(torch.ones_like(x)))[:, 2].detach()
    assert torch.allclose(measures["score difference"], difference, **EXACT)


# ---- batches ----


@pytest.mark.parametrize("batch", [1, 3, 7, 32])
def test_the_size_of_a_pass_changes_nothing(batch: int) -> None:
    net, x = nets.norm_dropout(), nets.images(3)
    values, gap = integrated_gradients_and_gap(net, x, batch=batch)
    expected, its_gap = integrated_gradients_and_gap(net, x, batch=64)
    assert torch.allclose(values, expected, **EXACT)
    assert torch.allclose(gap, its_gap, **EXACT)


def test_a_batch_is_its_images_one_by_one() -> None:
    net, x, other = nets.mlp(), nets.images(4), nets.images(4, seed=3)
    for baseline in (None, other):
        own = [None if baseline is None else baseline[i : i + 1] for i in range(4)]
        single = torch.cat([integrated_gradients(net, x[i : i + 1], baseline=own[i]) for i in range(4)])
        assert torch.allclose(integrated_gradients(net, x, baseline=baseline), single, **EXACT)


@pytest.mark.parametrize("batch", [1, 4, 32])
def test_no_pass_sees_more_than_a_batch(batch: int) -> None:
    net, told = _Counting(nets.plain()), list[tuple[int, int]]()
    integrated_gradients(
        net, nets.images(3), target=1, batch=batch, steps=10, on_step=lambda done, every: told.append((done, every))
    )
    assert max(net.seen) == min(batch, 10)
    assert sum(net.seen) == 3 * (10 + 2)  # the nodes, the image and the baseline
    assert told[-1] == (30, 30)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {every for _, every in told} == {30}


# ---- what is explained ----


def test_the_class_is_that_of_the_image_all_along_the_path() -> None:
    net, x = nets.mlp(), nets.images(4)
    top = net(x).argmax(1)
    assert torch.equal(integrated_gradients(net, x), integrated_gradients(net, x, target=top))
    assert (net(torch.zeros_like(x)).argmax(1) != top).any()


@pytest.mark.parametrize("one_each", [[1, 4], torch.tensor([1, 4]), ["conv2:1", 4], ["conv2:1@2,3", "relu1:0"]])
def test_one_target_each_is_each_image_with_its_own(one_each: Any) -> None:
    net, x = nets.plain(), nets.images(2)
    single = torch.cat([integrated_gradients(net, x[i : i + 1], target=one_each[i]) for i in range(2)])
    assert torch.allclose(integrated_gradients(net, x, target=one_each), single, **EXACT)


@pytest.mark.parametrize("how", ["max-abs", "sum", "positive", "negative"])
def test_channels_are_reduced_and_the_gap_stays(how: Any) -> None:
    net, x = nets.plain(), nets.images()
    values, gap = integrated_gradients_and_gap(net, x)
    assert torch.equal(integrated_gradients(net, x, reduce=how), reduce_channels(values, how))
    assert torch.equal(integrated_gradients_and_gap(net, x, reduce=how)[1], gap)


def test_other_inputs_repeat_and_stay() -> None:
    """Oracle: the slow sum with each image's own words held fixed."""
    net, image, words = words_then_image(), nets.images(), torch.tensor([[1, 2, 3], [0, 6, 6]])

    def of(i: int) -> Tensor:
        own = words[i : i + 1]
        return slow(lambda x: autograd(lambda x: net(own, x)[:, 1], x), image[i : i + 1], steps=9)

    expected = torch.cat([of(0), of(1)])
    asked: dict[str, Any] = {"target": 1, "steps": 9}
    assert torch.allclose(integrated_gradients(net, (words, image), wrt=1, batch=4, **asked), expected, **EXACT)
    by_name = integrated_gradients(net, {"words": words, "image": image}, wrt="image", **asked)
    assert torch.allclose(by_name, expected, **EXACT)


# ---- any surroundings, bad input ----


def test_modes_around_do_not_stop_it() -> None:
    """Oracle: the same call outside, the same bits; train mode is evaluation mode."""
    net, x = nets.norm_dropout(), nets.images()
    expected, gap = integrated_gradients_and_gap(net, x)
    assert torch.equal(integrated_gradients(nets.norm_dropout(train=True), x), expected)
    with torch.no_grad():
        assert torch.equal(integrated_gradients(net, x), expected)
    with torch.inference_mode():  # x is made inside: an inference tensor
        found = integrated_gradients_and_gap(net, nets.images(), reduce="sum")
    assert torch.equal(found[0], expected.sum(1))
    assert torch.equal(found[1], gap)
    assert not found[0].is_inference()


@pytest.mark.parametrize(("dtype", "share"), [(torch.float16, 3e-2), (torch.bfloat16, 1e-1)])
def test_half_precision_is_near_single_and_comes_back_as_single(dtype: torch.dtype, share: float) -> None:
    x = nets.images(dtype=torch.float32)
    exact = integrated_gradients(nets.plain(dtype=torch.float32), x, target=1)
    found, gap = integrated_gradients_and_gap(nets.plain(dtype=dtype), x.to(dtype), target=1)
    assert exact.dtype == found.dtype == gap.dtype == torch.float32
    assert (found - exact).abs().max() <= share * exact.abs().max()
    assert found.any()


def test_an_image_that_is_the_baseline_has_zeros() -> None:
    net = nets.plain()
    for value in (0.0, 0.7):
        x = torch.full((1, 3, 12, 12), value, dtype=torch.float64)
        values, gap = integrated_gradients_and_gap(net, x, baseline=value)
        assert not values.any()
        assert not gap.any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "steps=0: at least one step"),
        ({"batch": 0}, "batch=0: at least one image"),
        ({"baseline": [1.0, 2.0]}, r"baseline of shape \(2,\)"),
        ({"baseline": torch.zeros(1, 3, 4, 4)}, r"baseline of shape \(1, 3, 4, 4\)"),
        ({"baseline": torch.zeros(3, 3, 12, 12)}, r"baseline of shape \(3, 3, 12, 12\)"),
        ({"target": 99}, "class 99"),
        ({"target": [1, 2, 3]}, "3 targets for 2 images"),
        ({"score": "softmax"}, "neither 'logit' nor 'probability'"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        integrated_gradients(nets.plain(), nets.images(), **options)


@pytest.mark.parametrize("word", ["black", "noise"])
def test_a_baseline_that_is_none_is_refused(word: str) -> None:
    unchecked = inspect.unwrap(path_gradients._integrated)  # the type check of the tests would refuse it first
    with pytest.raises(ConvscopeError, match=f"baseline='{word}' is none of 'mean', 'blur'"):
        unchecked(nets.plain(), nets.images(), baseline=word)


def test_a_net_without_a_graph_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="turns gradients off"):
        integrated_gradients(nets.no_grad(), nets.images())


def test_a_net_that_raises_is_given_back_as_it_was() -> None:
    """Oracle: the autouse fixture; and the same call works afterwards."""
    net = nets.raises_for(lambda x: bool((x > 50).any()))
    with pytest.raises(nets.OutOfOrder):
        integrated_gradients(net, nets.images() + 100, target=1)
    expected = integrated_gradients(nets.raises_for(lambda x: False), nets.images())
    assert torch.equal(integrated_gradients(net, nets.images()), expected)
