"""What objectives score, against forwards tapped by hand; what they refuse; where the pass ends."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.taps import tap
from convscope.synthesis.objectives import (
    Objective,
    direction,
    diversity,
    evaluate,
    layer,
    logit,
    match,
    neuron,
    probability,
    unit,
    units,
)
from tests import nets
from tests.untouched import Untouched, watch


def by_hand(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """conv2's maps, linear1's units and the logits of ``nets.plain``, layer after layer."""
    net = nets.plain()
    maps = net[:4](x)
    flat = net[4:9](maps)
    return maps, flat, net[9:](flat)


SCORES: dict[str, tuple[Objective, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "unit": (unit("conv2:3"), lambda a, _f, _z: a[:, 3].mean((1, 2))),
    "fully connected unit": (unit("linear1:5"), lambda _a, f, _z: f[:, 5]),
    "neuron": (neuron("conv2:3@1,4"), lambda a, _f, _z: a[:, 3, 1, 4]),
    "units": (
        units(["linear1:5", "conv2:3", "conv2:0@2,5"]),
        lambda a, f, _z: torch.stack([f[0, 5], a[1, 3].mean(), a[2, 0, 2, 5]]),
    ),
    "layer": (layer("conv2"), lambda a, _f, _z: a.mean((1, 2, 3))),
    "layer squared": (layer("conv2", power=2), lambda a, _f, _z: (a * a).mean((1, 2, 3))),
    "flat layer": (layer("linear1"), lambda _a, f, _z: f.mean(1)),
    "logit": (logit(2), lambda _a, _f, z: z[:, 2]),
    "logits": (logit([4, 0, 1]), lambda _a, _f, z: torch.stack([z[0, 4], z[1, 0], z[2, 1]])),
    "probability": (probability(2), lambda _a, _f, z: z.softmax(1)[:, 2]),
    "direction": (
        direction("conv2", torch.arange(8.0) - 3),
        lambda a, _f, _z: sum((c - 3) * a[:, c].mean((1, 2)) for c in range(8)),
    ),
    "flat direction": (direction("linear1", torch.ones(16)), lambda _a, f, _z: f.sum(1)),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_every_objective_scores_what_a_forward_by_hand_holds(name: str, factory: Callable[..., nn.Module]) -> None:
    objective, expected = SCORES[name]
    x = nets.images(3)
    assert torch.allclose(evaluate(factory(), objective, x), expected(*by_hand(x)), rtol=0, atol=1e-14)


def test_a_match_is_minus_the_relative_squared_error_of_each_image() -> None:
    x, net = nets.images(3), nets.plain()
    features = by_hand(nets.images(3, seed=1))[0]
    for given in (features, features[:1]):
        wanted = given.expand_as(features)
        error = ((by_hand(x)[0] - wanted) ** 2).sum((1, 2, 3)) / (wanted**2).sum((1, 2, 3))
        assert torch.allclose(evaluate(net, match("conv2", given), x), -error, rtol=1e-13)
    assert evaluate(net, match("conv2", by_hand(x)[0]), x).tolist() == [0, 0, 0]
    assert torch.allclose(evaluate(net, match("linear1", -by_hand(x)[1]), x), torch.full((3,), -4.0).double())


def test_sums_over_a_layer_do_not_overflow_in_half_precision() -> None:
    """Oracle: the same numbers in float64. Their squares add up to more than float16 has."""
    net, x = nets.plain(dtype=torch.float16), (400 * nets.images(1)).half()
    maps = net[:4](x).double()
    assert 65504 < maps.square().sum() < 65504**2
    features = maps.half() / 2
    assert evaluate(net, match("conv2", features), x).item() == pytest.approx(-1, rel=1e-3)
    assert evaluate(net, layer("conv2", power=2), x).item() == pytest.approx(maps.square().mean().item(), rel=1e-3)


def test_diversity_is_minus_the_mean_likeness_of_gram_matrices_to_the_others() -> None:
    """Oracle: a loop over pairs and units."""
    x = nets.images(3)
    maps = by_hand(x)[0]
    grams = [torch.stack([torch.stack([(p * q).sum() for q in a]) for p in a]) for a in maps]
    cosines = [[(g * h).sum() / (g.norm() * h.norm()) for h in grams] for g in grams]
    expected = torch.stack([-sum(cosines[i][j] for j in range(3) if j != i) / 2 for i in range(3)])
    assert torch.allclose(evaluate(nets.plain(), diversity("conv2"), x), expected, rtol=0, atol=1e-13)
    same = evaluate(nets.plain(), diversity("conv2"), x[:1].expand(2, -1, -1, -1))
    assert torch.allclose(same, torch.tensor([-1.0, -1.0]).double())


def test_diversity_of_maps_that_are_all_zero_has_a_gradient_without_nan() -> None:
    maps = torch.zeros(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(diversity("a").score({"a": maps}, None).sum(), maps)
    assert gradient.count_nonzero() == 0


def test_algebra_of_objectives_is_arithmetic_of_their_scores() -> None:
    a, b, c = unit("conv2:3"), layer("linear1", power=2), logit(1)
    net, x = nets.plain(), nets.images(3)
    va, vb, vc = (evaluate(net, one, x) for one in (a, b, c))
    for objective, expected in (
        (a + b, va + vb),
        (a - c, va - vc),
        (2 * a, 2 * va),
        (a * 0.5, 0.5 * va),
        (-b, -vb),
        (sum([a, b, c]), va + vb + vc),
        (0.2 * a + 0.8 * (b - 3 * c), 0.2 * va + 0.8 * (vb - 3 * vc)),
    ):
        assert torch.allclose(evaluate(net, objective, x), expected, rtol=1e-14)
    assert (a + b + a).layers == ("conv2", "linear1")
    assert [(a + b).needs_output, (a + c).needs_output, (2 * c).needs_output] == [False, True, True]
    for broken in (lambda: a + 1, lambda: a - 1, lambda: a * a, lambda: "2" * a):
        with pytest.raises(TypeError):
            broken()


def test_the_pass_ends_at_the_last_layer_that_is_needed() -> None:
    """Oracle: a module that raises, after it."""

    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("reached")

    net = nets.plain()
    net[5] = Raises()
    watch(net)
    x = nets.images(2)
    expected = net[:4](x)[:, 1].mean((1, 2)) + net[0](x).mean((1, 2, 3))
    assert torch.allclose(evaluate(net, unit("conv2:1") + layer("conv1"), x), expected, rtol=1e-14)
    with pytest.raises(RuntimeError, match="reached"):
        evaluate(net, unit("conv2:1") + logit(0), x)


@pytest.mark.parametrize("factory", [*nets.SAME_WEIGHTS, nets.frozen, nets.skip, nets.writes_input])
def test_the_gradient_is_that_of_a_plain_forward_and_parameters_get_none(
    factory: Callable[..., nn.Module], untouched: Untouched
) -> None:
    net, x = factory(), nets.images(2).requires_grad_()
    (gradient,) = torch.autograd.grad(evaluate(net, logit(1), x).sum(), x)
    (expected,) = torch.autograd.grad(net(x.clone())[:, 1].sum(), x)
    assert torch.equal(gradient, expected)
    assert all(parameter.grad is None for parameter in net.parameters())
    untouched.check()


def test_several_inputs_are_given_as_a_tuple() -> None:
    net, x, words = nets.two_inputs(), nets.images(2), nets.images(2, seed=3).flatten(1)[:, :4]
    assert torch.equal(evaluate(net, logit(1), (x, words)), net(x, words)[:, 1])


def test_a_second_call_of_a_reused_layer_has_its_name() -> None:
    net, x = nets.reused_relu(), nets.images(2)
    with tap(net, "rectify#2") as seen:
        net(x)
    assert torch.equal(evaluate(net, layer("rectify#2"), x), seen["rectify#2"].mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: unit("conv2"), "'conv2' names no unit; give LAYER:NUMBER"),
        (lambda: unit("conv2:3@1,1"), "names one neuron, not a unit"),
        (lambda: neuron("conv2:3"), "names a whole unit.*'conv2:3@Y,X'"),
        (lambda: units([]), "one unit an image"),
        (lambda: units("conv2:3"), "one unit an image"),
        (lambda: layer("conv2", power=3), "power 3"),
        (lambda: logit([]), "no class number"),
        (lambda: match("conv2", torch.zeros(1, 8, 6, 6)), "all zero or not finite"),
    ],
)
def test_what_is_no_objective_is_refused_when_it_is_made(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        make()


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (unit("conv2:8"), "unit 8 was asked for, but layer 'conv2' has 8 units"),
        (units(["conv2:0", "conv2:9"]), "unit 9 was asked for, but layer 'conv2' has 8 units"),
        (units(["conv2:0"]), "1 units for 2 images"),
        (units(["conv2:0@6,0", "conv2:0"]), "position 6,0 was asked for"),
        (neuron("conv2:0@0,6"), "position 0,6 was asked for"),
        (neuron("linear1:0@0,0"), "has no map"),
        (unit("conv3:0"), "no layer 'conv3'.*did you mean 'conv"),
        (logit(5), "class 5 was asked for, but the network has 5 classes"),
        (logit([0, 1, 2]), "3 targets for 2 images"),
        (direction("conv2", torch.ones(7)), "7 numbers, but layer 'conv2' has 8 units"),
        (match("conv2", torch.ones(1, 8, 5, 5)), "features .* but layer 'conv2' gives"),
        (match("conv2", torch.ones(3, 8, 6, 6)), "features .* but layer 'conv2' gives"),
        (Objective(("conv2",), False, lambda a, _: a["conv2"]), "one score an image"),
    ],
)
def test_what_the_network_does_not_have_is_refused_by_name(objective: Objective, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        evaluate(nets.plain(), objective, nets.images(2))


def test_diversity_of_one_image_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="one image only"):
        evaluate(nets.plain(), diversity("conv2"), nets.images(1))
