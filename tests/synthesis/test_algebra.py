"""Labels of objectives, and one objective for each image of a batch: against single runs."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.synthesis.objectives import (
    Objective,
    direction,
    diversity,
    each,
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

A, B, C = unit("conv2:3"), neuron("conv2:3@1,4"), logit(2)


@pytest.mark.parametrize(
    ("objective", "label"),
    [
        (A, "conv2:3"),
        (B, "conv2:3@1,4"),
        (C, "class 2"),
        (logit([2, 0]), "class 2, class 0"),
        (probability(1), "probability of class 1"),
        (units(["conv2:3", "linear1:0"]), "conv2:3, linear1:0"),
        (layer("conv2"), "conv2"),
        (layer("conv2", power=2), "conv2 squared"),
        (direction("conv2", torch.ones(8)), "a direction in conv2"),
        (match("conv2", torch.ones(1, 8, 6, 6)), "match at conv2"),
        (diversity("conv2"), "diversity at conv2"),
        (0.2 * A + 0.8 * C, "0.2 · conv2:3 + 0.8 · class 2"),
        (A - C, "conv2:3 - class 2"),
        (A - 2 * (B + C), "conv2:3 - (2 · (conv2:3@1,4 + class 2))"),
        (-(A + C), "-(conv2:3 + class 2)"),
        (A + -C, "conv2:3 - class 2"),
        (A - -C, "conv2:3 - (-class 2)"),
        (sum([A, B, C]), "conv2:3 + conv2:3@1,4 + class 2"),
        (each([A, 2 * C]), "conv2:3, 2 · class 2"),
        (0.5 * C.named("goldfish"), "0.5 · goldfish"),
        (Objective((), True, lambda _, z: z[:, 0]), "own objective"),
    ],
)
def test_a_label_says_what_is_scored(objective: Objective, label: str) -> None:
    assert objective.label == label


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_refused(weight: float) -> None:
    with pytest.raises(ConvscopeError, match=f"{weight} times class 2: a weight is a finite number"):
        weight * C


@pytest.mark.parametrize("make", [lambda: 3 + A, lambda: A + 3, lambda: A - 3, lambda: A * B, lambda: "2" * A])
def test_objectives_are_added_to_objectives_and_multiplied_by_numbers_alone(make: Any) -> None:
    with pytest.raises(TypeError, match=r"unsupported operand|can't multiply"):
        make()


MIXED = [A, C, 0.2 * C + 0.8 * B, layer("linear1", power=2) - probability(1), neuron("conv1:0@0,5")]


def test_each_image_has_its_own_objective_of_any_kind_and_its_gradient_is_that_of_a_single_run() -> None:
    net, x = nets.plain(), nets.images(len(MIXED))
    leaf = x.clone().requires_grad_()
    together = evaluate(net, each(MIXED), leaf)
    (gradient,) = torch.autograd.grad(together.sum(), leaf)
    for i, one in enumerate(MIXED):
        single = x[i : i + 1].clone().requires_grad_()
        score = evaluate(net, one, single)
        assert torch.allclose(together[i : i + 1], score, rtol=1e-12)
        assert torch.allclose(gradient[i : i + 1], torch.autograd.grad(score.sum(), single)[0], rtol=0, atol=1e-12)


def test_each_of_units_and_of_classes_is_what_units_and_logit_of_a_list_are() -> None:
    net, x = nets.plain(), nets.images(3)
    names = ["conv2:3", "linear1:5", "conv2:0@2,5"]
    apart = [unit(names[0]), unit(names[1]), neuron(names[2])]
    assert torch.allclose(evaluate(net, each(apart), x), evaluate(net, units(names), x), rtol=1e-13)
    assert torch.allclose(evaluate(net, each([logit(c) for c in (4, 0, 4)]), x), evaluate(net, logit([4, 0, 4]), x))


def test_each_asks_only_for_what_is_needed_and_goes_with_algebra() -> None:
    both = each([A, neuron("conv1:0@0,0")])
    assert both.layers == ("conv2", "conv1")
    assert not both.needs_output
    assert each([A, C]).needs_output
    net, x = nets.plain(), nets.images(2)
    mixed = evaluate(net, 2 * each([A, C]) + diversity("conv2"), x)
    expected = 2 * evaluate(net, each([A, C]), x) + evaluate(net, diversity("conv2"), x)
    assert torch.allclose(mixed, expected, rtol=1e-13)


class Answer:
    """An output as libraries give it: an object with logits, and more."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


@pytest.mark.parametrize(
    ("output", "read"),
    [
        (lambda z: Answer(z), lambda o: o[:, 0]),
        (lambda z: {"a": z, "b": [z]}, lambda o: o["b"][0][:, 0]),
        (lambda z: (z, 2 * z), lambda o: o[1][:, 0] / 2),
    ],
)
def test_outputs_of_many_kinds_are_told_apart_by_image(output: Any, read: Any) -> None:
    z = nets.images(2).flatten(1)
    one = Objective((), True, lambda _, o: read(o))
    assert torch.equal(each([one, -one]).score({}, output(z)), torch.stack([z[0, 0], -z[1, 0]]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: each([]), "each of nothing: give a list"),
        (lambda: evaluate(nets.plain(), each([A]), nets.images(2)), "1 objectives for 2 images"),
        (lambda: evaluate(nets.plain(), each([C] * 3), nets.images(2)), "3 objectives for 2 images"),
        (lambda: evaluate(nets.plain(), each([A, unit("conv2:8")]), nets.images(2)), "unit 8 .* has 8 units"),
        (lambda: each([C, C]).score({}, "words"), "the network returns a str"),
    ],
)
def test_what_is_not_one_objective_an_image_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        make()
