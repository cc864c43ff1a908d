"""Activation maximisation: the picture that an objective asks for, and everything that keeps it a picture.

    x* = argmax_x E_t S(t(x)) - sum_i lambda_i R_i(x)

Erhan et al. 2009, "Visualizing Higher-Layer Features of a Deep Network"; class pictures: Simonyan et al. 2013,
arXiv:1312.6034. A ``Recipe`` says how the picture is parameterised (``canvases.py``), what it must survive, t
(``transforms.py``), what speaks against it, lambda R (``regularisers.py``, Yosinski et al. 2015, arXiv:1506.06579, for
the blur), and how it climbs (``ascent.py``).

Lengths are in pixels of a picture with a shorter side of 224 and shrink or grow with it: one recipe serves photos and
digits of 28 px. Penalties are divided by the picture's size already.

Pitfalls: the picture depends on the recipe as much as on the network, and shows one thing that drives the unit, not all
that do. ``PLAIN``, no regularisation at all, gives what looks like noise: the strongest picture is none that is ever
seen. A unit that never fires, not even with shut rectifiers let through, keeps its start and a score of exactly 0.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.network.passes import Inputs
from convscope.synthesis.ascent import Backdrop, Step, ascend
from convscope.synthesis.canvases import Canvas, Painting, fourier_canvas, maco_canvas, pixel_canvas
from convscope.synthesis.natural_canvas import natural_canvas
from convscope.synthesis.objectives import Objective
from convscope.synthesis.recipes import PLAIN, SIDE, STANDARD, Recipe
from convscope.synthesis.regularisers import blur
from convscope.synthesis.spectra import spectrum_of

__all__ = ["PLAIN", "Recipe", "maximise"]

BACKDROP_SD = 0.5  # lucid, collapse_alpha_random: of a Fourier image's parameters


def maximise(
    model: nn.Module,
    objective: Objective,
    *,
    b: int,
    c: int,
    size: tuple[int, int],
    to_input: Callable[[Tensor], Inputs],
    generator: torch.Generator,
    recipe: Recipe = STANDARD,
    start: Float[Tensor, "_ _ _ _"] | None = None,
    own_starts: bool = False,
    state: Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Iterator[Step]:
    """Pictures that an objective asks for: the start as step 0, then one after every update.

    Args:
        model: any module; nothing of it is changed.
        objective: what is to rise: one for all pictures, or ``each([...])``, ``units([...])``, ``logit([...])``.
        b: pictures.
        c: channels.
        size: (h, w) of them.
        to_input: pictures in [0, 1] -> what the network is given.
        generator: of the start and of everything that is drawn; the same seed gives the same pictures.
        recipe: how they are made.
        start: pictures in [0, 1] to start from, one for all or b of them, in place of a random one.
        own_starts: each picture starts from its own draw; by default all from the same, so that a batch is so many
            single runs.
        state: a ``Step.state()`` of the same run, which goes on from there: its step is yielded first.
        device: where it is computed.
        dtype: of the pictures: float32 or float64.

    Raises:
        ConvscopeError: what goes with no picture, network or state; sizes that the network refuses.
        AscentError: scores or gradients that are not finite; it has the step and the last good picture.
    """
    canvas = _canvas(recipe)(
        b,
        c,
        *size,
        generator=generator,
        decorrelated=recipe.decorrelated,
        alpha=recipe.alpha,
        own_starts=own_starts,
        start=start,
        device=device,
        dtype=dtype,
    )
    return ascend(
        model,
        objective,
        canvas,
        steps=recipe.steps,
        to_input=to_input,
        transform=recipe.transform(*size),
        penalties=recipe.penalties,
        rate=recipe.step_rate,
        generator=generator,
        let_through=recipe.let_through,
        backdrop=_noise(c) if recipe.alpha else None,
        opacity=recipe.opacity,
        between=_blurring(recipe, size) if recipe.blur else None,
        state=state,
    )


def _canvas(recipe: Recipe) -> Callable[..., Painting]:
    """What makes the canvas of a recipe."""
    if recipe.image == "natural":
        return natural_canvas if recipe.contrast is None else partial(natural_canvas, contrast=recipe.contrast)
    if recipe.image == "maco":
        return maco_canvas if recipe.contrast is None else partial(maco_canvas, contrast=recipe.contrast)
    return fourier_canvas if recipe.image == "fourier" else pixel_canvas


def _noise(c: int) -> Backdrop:
    """A backdrop that says nothing: another random picture each step, so that what matters must cover it."""

    def backdrop(image: Tensor, generator: torch.Generator) -> Tensor:
        h, w = image.shape[2:]
        with torch.no_grad():
            made = fourier_canvas(1, c, h, w, generator=generator, sd=BACKDROP_SD, device=image.device)
            return made.image().to(image)

    return backdrop


def _blurring(recipe: Recipe, size: tuple[int, int]) -> Callable[[Canvas, int], None]:
    """Every so many updates the values, which the parameters draw, are blurred; Adam's means stay."""
    sigma_px = recipe.blur * min(size) / SIDE

    def between(canvas: Canvas, number: int) -> None:
        if number % recipe.blur_every or not isinstance(canvas, Painting):
            return
        values = blur(canvas.values(canvas.colours), sigma_px)
        canvas.colours.copy_(spectrum_of(values) if recipe.image == "fourier" else values)

    return between
