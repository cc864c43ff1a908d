"""Recipes and the maximisation that they steer: closed forms, single runs, breaks at any step, what is refused."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.synthesis.ascent import AscentError, Step
from convscope.synthesis.canvases import fourier_canvas, maco_canvas, pixel_canvas
from convscope.synthesis.maximisation import PLAIN, Recipe, maximise
from convscope.synthesis.natural_canvas import natural_canvas
from convscope.synthesis.objectives import Objective, diversity, each, evaluate, logit, unit
from convscope.synthesis.regularisers import blur
from convscope.synthesis.transforms import draw_shift, shifted
from tests import nets
from tests.untouched import Untouched, watch


def to_input(image: Tensor) -> Tensor:
    return 8 * (image - 0.5)


def run(
    net: nn.Module,
    objective: Objective,
    recipe: Recipe,
    *,
    b: int = 1,
    c: int = 3,
    seed: int = 0,
    state: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> list[Step]:
    given = {"size": (12, 12), "to_input": to_input, "dtype": torch.float64} | options
    generator = torch.Generator().manual_seed(seed)
    return list(
        maximise(net, objective, b=b, c=c, generator=generator, recipe=recipe, state=state, **given)  # pyright: ignore
    )


BRIEF = Recipe(steps=5)
KINDS = {
    "default": BRIEF,
    "fourier": Recipe(steps=5, image="fourier", tv=2, l2=0.1, lp=0.1),
    "maco": Recipe(steps=5, image="maco", contrast=0.5),
    "plain": PLAIN.changed(steps=5),
    "blurred pixels": Recipe(steps=5, image="pixels", blur=12, blur_every=2),
    "blurred fourier": Recipe(steps=5, image="fourier", blur=12, blur_every=2),
    "alpha": Recipe(steps=5, alpha=True),
}


# ---- what comes out ------------------------------------------------------------------------------------------


def test_a_linear_score_less_l2_ends_where_the_closed_form_says() -> None:
    """max w.x - lambda |x - 1/2|^2 / (h w) is at 1/2 + h w w / (2 lambda); one picture for each of two classes."""
    net = nets.linear_only()
    leaf = torch.zeros(2, 3, 12, 12, dtype=torch.float64, requires_grad=True)
    (w,) = torch.autograd.grad(net(to_input(leaf))[[0, 1], [3, 1]].sum(), leaf)
    weight = 2 * 144 * w.abs().max().item()  # so that the furthest is a quarter from grey
    recipe = PLAIN.changed(l2=weight, steps=1500, rate=0.02, settle=0.5)
    end = run(net, each([logit(3), logit(1)]), recipe, b=2)[-1]
    assert torch.allclose(end.image, 0.5 + 144 * w / (2 * weight), rtol=0, atol=1e-6)
    assert (end.image - 0.5).abs().max() > 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_each_is_so_many_single_runs(kind: str) -> None:
    net, wanted = nets.plain(), [logit(1), unit("conv2:3"), unit("linear1:4") - 0.5 * logit(0)]
    together = run(net, each(wanted), KINDS[kind], b=3)
    for i, one in enumerate(wanted):
        for step, single in zip(together, run(net, one, KINDS[kind]), strict=True):
            assert torch.allclose(step.image[i], single.image[0], rtol=0, atol=1e-8)
            assert torch.allclose(step.scores[i], single.scores[0], rtol=0, atol=1e-7)
    assert (together[-1].image[0] - together[-1].image[1]).abs().max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("c", [1, 3, 4])
def test_the_score_rises_for_every_kind_of_picture_and_any_number_of_channels(kind: str, c: int) -> None:
    net = _net_of(c)
    steps = run(net, logit(1), KINDS[kind].changed(steps=60), c=c)
    if kind != "alpha":  # its start is scored over a backdrop of its own
        first = evaluate(net, logit(1), to_input(steps[0].image))
        assert (steps[-1].scores > first + 0.01).all()
    assert steps[-1].image.shape == (1, c, 12, 12)
    assert ((steps[-1].image >= 0) & (steps[-1].image <= 1)).all()


def _net_of(c: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layers = [nn.Conv2d(c, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)]
        return watch(nn.Sequential(*layers).double().eval())


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, again, other = (run(nets.plain(), logit(1), BRIEF, seed=seed)[-1].image for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_given_start_is_where_it_begins_and_own_starts_are_apart() -> None:
    start = 0.3 + 0.4 * torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    for recipe in (BRIEF, PLAIN.changed(steps=1)):
        first = run(nets.plain(), logit(1), recipe, start=start)[0]
        assert torch.allclose(first.image, start, rtol=0, atol=1e-9)
    apart = run(nets.plain(), logit(1) + diversity("conv2"), BRIEF, b=2, own_starts=True)[0]
    assert (apart.image[0] - apart.image[1]).abs().max() > 0.05


@pytest.mark.parametrize("image", ["pixels", "fourier"])
def test_the_blur_is_of_the_values_every_so_many_steps(image: str) -> None:
    """Oracle: a network without a say: nothing but the blur moves the picture."""
    net = nets.linear_only()
    recipe = Recipe(
        image=image, decorrelated=False, steps=4, rate=1e-12, blur=20, blur_every=3, jitter=0, rotate=0, noise=0
    )
    steps = run(net, logit(0), recipe)
    assert torch.allclose(steps[2].image, steps[0].image, rtol=0, atol=1e-10)
    expected = torch.sigmoid(blur(torch.logit(steps[0].image), 20 * 12 / 224))
    assert torch.allclose(steps[3].image, expected, rtol=0, atol=1e-10)
    assert torch.allclose(steps[4].image, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("recipe", "make"),
    [
        (Recipe(contrast=0.4), partial(natural_canvas, contrast=0.4)),
        (Recipe(decorrelated=False), partial(natural_canvas, decorrelated=False)),
        (Recipe(image="maco", contrast=0.4), partial(maco_canvas, contrast=0.4)),
        (Recipe(image="fourier", decorrelated=False), partial(fourier_canvas, decorrelated=False)),
    ],
)
def test_the_start_is_that_of_the_recipes_canvas(recipe: Recipe, make: Any) -> None:
    canvas = make(1, 3, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (start,) = run(nets.plain(), logit(1), recipe.changed(steps=0))
    assert torch.equal(start.image, canvas.image())


def test_rectifiers_are_let_through_for_as_many_steps_as_the_recipe_says() -> None:
    """All of conv1 is shut: without, nothing moves; with, Adam's momentum goes on for a while and then dies down."""
    net = nets.plain()
    with torch.no_grad():
        net.get_submodule("conv1").bias.fill_(-50.0)
    watch(net)
    still, moved = (run(net, logit(1), PLAIN.changed(steps=3, let_through=n)) for n in (0, 1))
    assert torch.equal(still[-1].image, still[0].image)
    assert not torch.equal(moved[1].image, moved[0].image)
    assert torch.allclose(moved[2].kept["adam.mean.0"], 0.9 * moved[1].kept["adam.mean.0"])  # no gradient any more


def test_pixels_are_moved_by_lengths_of_their_own_size() -> None:
    """Oracle: the score of the start under the recipe's transform for 12 px, drawn after the start."""
    net, recipe, draw = nets.plain(), PLAIN.changed(jitter=100, steps=1), torch.Generator().manual_seed(0)
    first = run(net, logit(1), recipe)[0]
    pixel_canvas(1, 3, 12, 12, generator=draw, dtype=torch.float64)
    moved = shifted(first.image, draw_shift(round(100 * 12 / 224), draw))
    assert torch.allclose(first.scores, net(to_input(moved))[:, 1], rtol=1e-12)


# ---- broken off and gone on with -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_to_the_same_bits_from_any_step(kind: str) -> None:
    """With transforms, noise, a falling rate, several parameters; within the steps that let through and after."""
    recipe = KINDS[kind].changed(steps=7, let_through=3)
    net, objective = nets.plain(), each([logit(1), unit("conv2:3")])
    whole = run(net, objective, recipe, b=2)
    for at in (0, 2, 3, 6, 7):
        kept = load(save(whole[at].state()))  # as on a disk
        rest = run(net, objective, recipe, b=2, seed=99, state=kept)
        assert [step.step for step in rest] == list(range(at, 8))
        for step, expected in zip(rest, whole[at:], strict=True):
            assert torch.equal(step.image, expected.image)
            assert torch.equal(step.scores, expected.scores)
            assert all(torch.equal(step.state()[name], value) for name, value in expected.state().items())


def test_a_state_is_what_it_was_whatever_happens_after() -> None:
    steps = maximise(
        nets.plain(), logit(1), b=1, c=3, size=(12, 12), to_input=to_input, recipe=BRIEF,
        generator=torch.Generator().manual_seed(0), dtype=torch.float64,
    )  # fmt: skip
    state = next(steps).state()
    before = {name: value.clone() for name, value in state.items()}
    *_, last = steps
    assert all(torch.equal(state[name], value) for name, value in before.items())
    again = maximise(
        nets.plain(), logit(1), b=1, c=3, size=(12, 12), to_input=to_input, recipe=BRIEF, state=before,
        generator=torch.Generator().manual_seed(1), dtype=torch.float64,
    )  # fmt: skip
    for value in before.values():  # nor does the caller's own write into what goes on from it
        value.zero_()
    assert torch.equal(list(again)[-1].image, last.image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s | {"step": torch.tensor(9)}, "step 9, and the run has 5 steps"),
        (lambda s: {n: v for n, v in s.items() if n != "adam.mean.0"}, "has no adam.mean.0, and this one has adam"),
        (lambda s: s | {"parameters.0": s["parameters.0"][:, :1]}, "parameters.0 of shape .*, and this one has"),
        (lambda s: s | {"parameters.1": torch.zeros(1)}, "parameters.1 of shape .*, and this one has no parameters.1"),
        (lambda s: {n: v for n, v in s.items() if n != "generator"}, "draws random numbers"),
        (lambda s: s | {"generator": s["generator"][:9]}, "random numbers are of another device"),
        (lambda _: {}, "it has no adam.mean.0"),
    ],
)
def test_a_state_of_another_run_is_refused(change: Any, message: str) -> None:
    state = run(nets.plain(), logit(1), BRIEF)[2].state()
    with pytest.raises(ConvscopeError, match=message):
        run(nets.plain(), logit(1), BRIEF, state=change(state))


# ---- bad input -----------------------------------------------------------------------------------------------


def test_a_unit_that_never_fires_gives_a_picture_and_a_score_of_zero() -> None:
    net = nets.conv_relu_gap()
    with torch.no_grad():
        net.get_submodule("classifier").bias.fill_(-1e4)
    watch(net)
    end = run(net, unit("relu3:2"), BRIEF)[-1]
    assert end.scores.tolist() == [0]
    assert bool(end.image.isfinite().all())


def test_nan_stops_with_the_step_and_the_last_good_picture(untouched: Untouched) -> None:
    calls: list[int] = []

    def spoilt(_activations: object, output: Tensor) -> Tensor:
        calls.append(0)
        return output[:, 0] * (math.nan if len(calls) == 4 else 1.0)

    with pytest.raises(AscentError, match="nan for picture 0 at step 3: the picture of step 2") as caught:
        run(nets.plain(), Objective((), True, spoilt), BRIEF)
    assert caught.value.last is not None
    assert caught.value.last.step == 2
    assert run(nets.plain(), logit(0), BRIEF, state=caught.value.last.state())[-1].step == 5
    untouched.check()


def test_a_size_that_the_network_refuses_is_named() -> None:
    with pytest.raises(ConvscopeError, match=r"the network cannot take a picture of 3 x 20 x 12: .*mat1 and mat2"):
        run(nets.mlp(), logit(0), BRIEF, size=(20, 12))
    with pytest.raises(ConvscopeError, match="the network cannot take a picture of 5 x 12 x 12"):
        run(nets.plain(), logit(0), BRIEF, c=5)


def test_a_unit_out_of_range_names_the_count() -> None:
    with pytest.raises(ConvscopeError, match="unit 8 was asked for, but layer 'conv2' has 8 units"):
        run(nets.plain(), unit("conv2:8"), BRIEF)
