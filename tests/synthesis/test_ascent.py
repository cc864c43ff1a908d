"""The ascent against closed forms, single runs and updates by hand; starts without a gradient; what stops it."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.synthesis.ascent import AscentError, Step, ascend
from convscope.synthesis.canvases import Canvas, fourier_canvas, pixel_canvas
from convscope.synthesis.objectives import Objective, diversity, layer, logit, unit, units
from convscope.synthesis.recipes import STANDARD
from convscope.synthesis.regularisers import l2, total_variation
from tests import nets, oracles
from tests.untouched import Untouched, watch


@dataclass(frozen=True, eq=False)
class Plain:
    """A canvas whose picture is its parameter, without bounds: what closed forms speak of."""

    pixels: Tensor
    opacity: Tensor | None = None

    @classmethod
    def at(cls, start: Tensor) -> "Plain":
        return cls(start.detach().clone().requires_grad_())

    @property
    def parameters(self) -> list[Tensor]:
        return [self.pixels] if self.opacity is None else [self.pixels, self.opacity]

    def image(self) -> Tensor:
        return self.pixels * 1

    def alpha(self) -> Tensor | None:
        return None if self.opacity is None else self.opacity.sigmoid()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def run(net: nn.Module, objective: Objective, canvas: Canvas, steps: int = 3, **options: Any) -> list[Step]:
    return list(ascend(net, objective, canvas, steps=steps, **{"to_input": lambda image: image} | options))


def dead(factory: Callable[..., nn.Module], convolution: str) -> nn.Sequential:
    """Biases far below zero before a ReLU: no image near grey gets a gradient through it."""
    net = factory()
    with torch.no_grad():
        net.get_submodule(convolution).bias.fill_(-50.0)
    return watch(net)


# ---- closed forms and updates by hand ------------------------------------------------------------------------


def test_a_linear_score_less_l2_ends_at_w_over_two_lambda() -> None:
    """max w.x - lambda |x|^2 is at w / (2 lambda), whatever the start; one image for each of two logits."""
    net, x = nets.linear_only(), nets.images(2)
    leaf = x.clone().requires_grad_()
    (w,) = torch.autograd.grad(net(leaf)[[0, 1], [3, 1]].sum(), leaf)
    weight = 4 * w.abs().max().item()  # so that the largest of the end is 1/8
    end = run(net, logit([3, 1]), Plain.at(0.1 * x), 800, penalties=[(weight, l2)], rate=0.01)[-1]
    assert torch.allclose(end.image, w / (2 * weight), rtol=0, atol=1e-9)
    assert w.abs().max() / (2 * weight) > 0.1
    assert torch.allclose(end.scores, net(end.image)[[0, 1], [3, 1]], rtol=1e-14)


def test_every_step_is_one_of_adam_written_by_hand() -> None:
    """Kingma & Ba 2015, algorithm 1; the scores are the objective's without the penalties."""
    net, variation = nets.plain(), total_variation(2)
    steps = run(net, logit(2), Plain.at(nets.images()), 4, rate=0.03, penalties=[(0.7, variation)])
    x, m, v = nets.images(), 0.0, 0.0
    for t, step in enumerate(steps, start=1):
        assert torch.allclose(step.image, x, rtol=0, atol=1e-9)
        assert torch.allclose(step.scores, net(x)[:, 2], rtol=0, atol=1e-9)
        leaf = x.clone().requires_grad_()
        (g,) = torch.autograd.grad((net(leaf)[:, 2] - 0.7 * variation(leaf)).sum(), leaf)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        x = x + 0.03 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    assert [step.step for step in steps] == [0, 1, 2, 3, 4]


def test_no_steps_give_the_start_and_change_nothing() -> None:
    canvas = Plain.at(nets.images())
    (start,) = run(nets.plain(), logit(0), canvas, 0)
    assert start.step == 0
    assert torch.equal(start.image, nets.images())
    assert torch.equal(canvas.pixels, nets.images())


@pytest.mark.parametrize("make", [pixel_canvas, fourier_canvas])
def test_the_objective_rises_on_the_projects_canvases(make: Callable[..., Canvas]) -> None:
    canvas = make(2, 3, 12, 11, generator=seeded(), dtype=torch.float64)
    to_input = {"to_input": lambda image: 8 * (image - 0.5)}
    steps = run(nets.plain(), units(["conv2:1", "conv2:5"]), canvas, 40, **to_input)
    assert (steps[-1].scores > steps[0].scores + 0.1).all()
    assert ((steps[-1].image > 0) & (steps[-1].image < 1)).all()


# ---- batches and seeds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [None, STANDARD.transform(192, 192)])
@pytest.mark.parametrize("make", [pixel_canvas, fourier_canvas])
def test_a_batch_of_units_is_so_many_single_runs(make: Callable[..., Canvas], transform: Any) -> None:
    names = ["conv2:1", "linear1:4", "conv2:6"]

    def draw(wanted: list[str]) -> Step:
        generator = seeded(5)
        canvas = make(len(wanted), 3, 12, 12, generator=generator, dtype=torch.float64)
        options = {"transform": transform, "generator": generator, "penalties": [(0.0001, l2)]}
        return run(nets.plain(), units(wanted), canvas, 6, **options)[-1]

    together, alone = draw(names), [draw([name]) for name in names]
    for i, single in enumerate(alone):
        assert torch.allclose(together.image[i], single.image[0], rtol=0, atol=1e-8)
        assert torch.allclose(together.scores[i], single.scores[0], rtol=0, atol=1e-8)
    assert (alone[0].image - alone[1].image).abs().max() > 0.01


def test_let_through_looks_at_each_image_of_a_batch() -> None:
    """One image is shut all over, the other is not. Oracle: single runs."""
    net = nets.conv_relu_gap()
    with torch.no_grad():
        net[0].bias.fill_(-3.0)
    watch(net)
    start = torch.cat([nets.images(1) * 0.01, nets.images(1) * 5])
    assert (net[:2](start).flatten(1).amax(1) > 0).tolist() == [False, True]
    together = run(net, logit(1), Plain.at(start))[-1]
    for i in range(2):
        single = run(net, logit(1), Plain.at(start[i : i + 1]))[-1]
        assert torch.allclose(together.image[i : i + 1], single.image, rtol=0, atol=1e-9)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    def draw(seed: int) -> Tensor:
        generator = seeded(seed)
        canvas = fourier_canvas(1, 3, 12, 12, generator=generator, dtype=torch.float64)
        return run(nets.plain(), logit(1), canvas, transform=STANDARD.transform(192, 192), generator=generator)[
            -1
        ].image

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_the_transform_moves_what_is_scored_but_not_the_last_scores_and_not_the_penalties() -> None:
    """Oracle: a transform that turns the picture upside down, drawn once a step."""
    drawn: list[float] = []

    def flip(image: Tensor, generator: torch.Generator) -> Tensor:
        drawn.append(torch.rand((), generator=generator).item())
        return image.flip(2)

    net, of_start = nets.plain(), []

    def note(image: Tensor) -> Tensor:
        of_start.append(image.detach().clone())
        return l2(image)

    first, last = run(
        net, logit(0), Plain.at(nets.images()), 1, transform=flip, generator=seeded(), penalties=[(1, note)]
    )
    assert torch.allclose(first.scores, net(nets.images().flip(2))[:, 0], rtol=1e-13)
    assert torch.allclose(last.scores, net(last.image)[:, 0], rtol=1e-13)
    assert len(drawn) == len(of_start) == 1
    assert torch.equal(of_start[0], nets.images())


# ---- networks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [*nets.SAME_WEIGHTS, nets.frozen])
def test_every_way_to_write_a_relu_gives_the_same_picture(
    factory: Callable[..., nn.Module], untouched: Untouched
) -> None:
    objective = logit(1) + 0.5 * unit("conv2:3") - layer("linear1", power=2)
    net, plain = factory(), nets.plain()
    got, expected = (run(one, objective, Plain.at(nets.images()))[-1] for one in (net, plain))
    assert torch.allclose(got.image, expected.image, rtol=0, atol=1e-9)
    assert all(parameter.grad is None for parameter in net.parameters())
    untouched.check()


@pytest.mark.parametrize("factory", [nets.gelu_only, nets.view_write, nets.custom_function, nets.writes_input])
def test_networks_that_no_rule_can_see_into_are_climbed_all_the_same(factory: Callable[..., nn.Module]) -> None:
    steps = run(factory(), logit(1), Plain.at(nets.images()), 10)
    assert (steps[-1].scores > steps[0].scores).all()


def test_the_network_is_in_its_own_mode_between_steps_and_its_batch_norm_does_not_learn(untouched: Untouched) -> None:
    net = watch(nets.norm_dropout(train=True))
    canvas = outside_inference()
    steps = ascend(net, logit(1), canvas, steps=3, to_input=lambda image: image)
    with torch.inference_mode():
        for _ in range(2):
            next(steps)
            assert net.training
            assert torch.is_inference_mode_enabled()
    assert len(list(steps)) == 2  # one ascent, begun within inference mode and ended outside
    assert canvas.pixels.grad is None
    untouched.check()


def outside_inference() -> Plain:
    with torch.inference_mode(False):
        return Plain.at(nets.images())


def test_a_module_after_the_last_needed_layer_is_never_reached() -> None:
    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("reached")

    net = nets.plain()
    net[5] = Raises()
    steps = run(watch(net), unit("conv2:1"), Plain.at(nets.images()), 5)
    assert (steps[-1].scores > steps[0].scores).all()


# ---- starts without a gradient -------------------------------------------------------------------------------


def test_a_dead_first_layer_moves_with_let_through_and_does_not_without() -> None:
    """Oracle: what arrives above conv1's ReLU, its positive part sent through conv1 by hand; Adam's first step."""
    net, start = dead(nets.plain, "conv1"), nets.images()
    still = run(net, logit(1), Plain.at(start), 3, let_through=0)
    assert torch.equal(still[-1].image, start)
    above = torch.zeros_like(net[0](start)).requires_grad_()
    (arrives,) = torch.autograd.grad(net[2:](above)[:, 1].sum(), above)
    sent = oracles.transposed_convolution(net[0], arrives.clamp(min=0), start.shape)
    assert sent.abs().max() > 1e-4
    moved = run(net, logit(1), Plain.at(start), 1, rate=0.05)[-1].image - start
    assert torch.allclose(moved, 0.05 * sent / (sent.abs() + 1e-8), rtol=0, atol=1e-9)


def test_a_class_whose_map_is_shut_at_the_end_of_the_network_comes_alive() -> None:
    """SqueezeNet's head, and its zebra: a score of exactly 0, then one that rises; shut for ever without."""
    net = nets.conv_relu_gap()
    with torch.no_grad():
        net.get_submodule("classifier").bias.fill_(-0.2)
    watch(net)
    start = 0.01 * nets.images()
    assert net(start).count_nonzero() == 0
    still = run(net, logit([2, 3]), Plain.at(start), 20, let_through=0)
    assert torch.equal(still[-1].image, start)
    assert (run(net, logit([2, 3]), Plain.at(start), 60, let_through=60)[-1].scores > 0.01).all()


def test_after_the_first_steps_a_dead_rectifier_is_shut_again() -> None:
    """Adam alone goes on by its momentum, 0.9 of it each step."""
    steps = run(dead(nets.plain, "conv1"), logit(1), Plain.at(nets.images()), 60, let_through=2)
    moves = [(b.image - a.image).abs().max().item() for a, b in itertools.pairwise(steps)]
    assert moves[1] > 0.04
    assert moves[-1] < 0.01 * moves[1]


# ---- alpha ---------------------------------------------------------------------------------------------------


def test_a_picture_with_alpha_is_laid_over_its_backdrop() -> None:
    """Oracle: alpha x + (1 - alpha) backdrop, by hand; both parameters move."""
    net, opacity = nets.plain(), nets.images(2, c=1, seed=4)
    canvas = Plain(nets.images().requires_grad_(), opacity.clone().requires_grad_())
    backdrop = nets.images(1, seed=9)
    steps = run(net, logit(0), canvas, 2, backdrop=lambda *_: backdrop, generator=seeded())
    laid = opacity.sigmoid() * nets.images() + (1 - opacity.sigmoid()) * backdrop
    assert torch.allclose(steps[0].scores, net(laid)[:, 0], rtol=1e-13)
    assert steps[0].alpha is not None
    assert torch.equal(steps[0].alpha, opacity.sigmoid())
    assert (canvas.pixels - nets.images()).abs().min() > 0
    assert (canvas.parameters[1] - opacity).abs().max() > 0.01


# ---- what stops it -------------------------------------------------------------------------------------------


def test_nan_in_the_objective_stops_with_the_step_and_the_last_good_picture() -> None:
    calls: list[int] = []

    def spoilt(_activations: object, output: Tensor) -> Tensor:
        calls.append(0)
        return output[:, 0] * (math.nan if len(calls) == 4 else 1.0)

    seen: list[Step] = []
    made = ascend(
        nets.plain(),
        Objective((), True, spoilt),
        Plain.at(nets.images()),
        steps=9,
        to_input=lambda image: image,
    )
    with pytest.raises(AscentError, match="nan for picture 0 at step 3: the picture of step 2 is the last") as caught:
        seen.extend(made)
    assert [step.step for step in seen] == [0, 1, 2]
    assert caught.value.step == 3
    assert caught.value.last is seen[2]


def test_nan_at_the_start_has_no_good_picture() -> None:
    with pytest.raises(AscentError, match="inf for picture 1 at step 0: no picture before it was good") as caught:
        run(nets.plain(), Objective((), True, lambda _, z: z[:, 0] / torch.tensor([1.0, 0.0])), Plain.at(nets.images()))
    assert caught.value.last is None


def test_a_gradient_that_is_nan_stops_with_the_picture_it_came_from() -> None:
    """The square root at 0: its value is fine, its slope times zero is NaN."""
    objective = Objective((), True, lambda _, z: (z[:, 0] * 0).sqrt())
    with pytest.raises(AscentError, match="the gradient is not finite at step 0: the picture of step 0") as caught:
        run(nets.plain(), objective, Plain.at(nets.images()))
    assert caught.value.last is not None
    assert torch.equal(caught.value.last.image, nets.images())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps -1"),
        ({"rate": 0.0}, "rate 0.0"),
        ({"rate": math.nan}, "rate nan"),
        ({"let_through": -1}, "let_through -1"),
        ({"transform": STANDARD.transform(192, 192)}, "give a generator"),
        ({"backdrop": lambda image, _: image, "generator": seeded()}, "a canvas with alpha goes with a backdrop"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused_before_the_first_step(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConvscopeError, match=message):
        ascend(
            nets.plain(),
            logit(0),
            Plain.at(nets.images()),
            **{"steps": 1, "to_input": lambda image: image} | options,  # pyright: ignore
        )


def test_scores_that_do_not_depend_on_the_picture_are_refused() -> None:
    constant = Objective((), True, lambda _, z: z[:, 0].detach())
    for let_through in (0, 16):
        with pytest.raises(ConvscopeError, match=r"no graph was recorded|does not depend"):
            run(nets.plain(), constant, Plain.at(nets.images()), let_through=let_through)


def test_another_number_of_scores_than_pictures_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="1 scores for 2 images"):
        run(nets.plain(), Objective((), True, lambda _, z: z[:1, 0]), Plain.at(nets.images()))


def test_diversity_drives_the_pictures_of_a_batch_apart() -> None:
    start = nets.images(1).expand(2, -1, -1, -1) + 0.05 * nets.images(2, seed=2)
    steps = run(nets.plain(), diversity("conv2"), Plain.at(start), 30)
    assert (steps[-1].scores > steps[0].scores + 0.05).all()
