"""Pictures with an opacity: what does not count becomes transparent. Oracles: a score of one half; gradients."""

import pytest
import torch
from torch import Tensor, nn

from convscope.synthesis.ascent import Step
from convscope.synthesis.canvases import fourier_canvas, pixel_canvas
from convscope.synthesis.maximisation import PLAIN, Recipe, maximise
from convscope.synthesis.objectives import Objective, logit
from tests import nets


def to_input(image: Tensor) -> Tensor:
    return 8 * (image - 0.5)


def run(net: nn.Module, objective: Objective, recipe: Recipe) -> list[Step]:
    generator = torch.Generator().manual_seed(0)
    made = maximise(
        net, objective, b=1, c=3, size=(12, 12), to_input=to_input, recipe=recipe, generator=generator,
        dtype=torch.float64,
    )  # fmt: skip
    return list(made)


@pytest.mark.parametrize("image", ["natural", "fourier", "pixels", "maco"])
def test_what_does_not_count_becomes_transparent_and_what_counts_does_not(image: str) -> None:
    """Oracle: a score of the upper half alone."""
    upper = Objective((), True, lambda _, z: z[:, 0], "upper half")
    mask = torch.zeros(12, 12, dtype=torch.float64)
    mask[:6] = 1
    still = {"jitter": 0, "rotate": 0, "scale": (1, 1), "noise": 0}
    recipe = Recipe(image=image, alpha=True, steps=150, **still)  # pyright: ignore[reportArgumentType]
    ends = [run(Reads(mask), upper, recipe.changed(opacity=cost))[-1].alpha for cost in (0, 1)]
    free, costly = ends
    assert free is not None
    assert costly is not None
    assert float(costly[0, 0, 8:].mean()) < 0.2  # not looked at
    assert float(costly[0, 0, 1:5].mean()) > 0.6
    assert float(free[0, 0, 8:].mean()) > 0.3


@pytest.mark.parametrize("image", ["natural", "maco"])
def test_opacity_climbs_as_fast_as_that_of_a_fourier_image_whatever_the_pictures_rate(image: str) -> None:
    mask = torch.ones(12, 12, dtype=torch.float64)

    def move(kind: str) -> float:
        first, second = run(Reads(mask), logit(0), Recipe(image=kind, alpha=True, steps=1))
        assert first.alpha is not None
        assert second.alpha is not None
        return float((second.alpha - first.alpha).abs().mean())

    assert 0.5 < move(image) / move("fourier") < 2


class Reads(nn.Module):
    """The mean brightness where a mask is."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return 10 * (x * self.get_buffer("mask")).mean((1, 2, 3))[:, None]


def test_what_opacity_costs_is_a_share_of_the_score_that_does_not_climb_itself() -> None:
    """Adam's first mean is a tenth of the gradient of S - 2 |S| mean(alpha), |S| held, for both parameters."""
    net, draw = nets.plain(), torch.Generator().manual_seed(0)
    canvas = pixel_canvas(1, 3, 12, 12, generator=draw, decorrelated=False, alpha=True, dtype=torch.float64)
    first, second = run(net, logit(1), PLAIN.changed(alpha=True, opacity=2, steps=1))
    backdrop = fourier_canvas(1, 3, 12, 12, generator=draw, sd=0.5).image().double()
    assert backdrop.std() > 0.08  # it must be covered
    alpha = canvas.alpha()
    assert alpha is not None
    score = net(to_input(alpha * canvas.image() + (1 - alpha) * backdrop))[0, 1]
    assert torch.allclose(first.scores[0], score, rtol=1e-6)
    gradients = torch.autograd.grad(score - 2 * score.detach().abs() * alpha.mean(), canvas.parameters)
    for i, gradient in enumerate(gradients):
        assert torch.allclose(second.kept[f"adam.mean.{i}"], 0.1 * gradient, rtol=1e-4, atol=1e-9)
