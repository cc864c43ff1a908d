"""What an optimiser changes in place of a picture's pixels: parameters without bounds, and the picture that they draw.

Olah, Mordvintsev & Schubert 2017, "Feature Visualization", doi:10.23915/distill.00007; lucid's ``param.image``:

    image = sigmoid(C V),    V = P                          ``pixel_canvas``
                             V = irfft2(s S) / 4            ``fourier_canvas``
                             V = irfft2(M e^(i p))          ``maco_canvas``, Fel et al. 2023, arXiv:2306.06805

P, S and p are the parameters; C decorrelates colours (``colour_basis.py``), s and M are scales by frequency
(``spectra.py``). P and S start at random with standard deviation 0.01: a Fourier start at 192 px is grey, 0.5, with a
standard deviation of 0.003 in every channel, smooth as photos are. p starts uniform; photos' magnitudes with random
phases are clouds of strong contrast.

All images of a batch start from the same draw, so that a batch is so many single runs, whatever its size. Objectives
that compare the images of a batch need ``own_starts=True``: images that are equal have no gradient apart. Then each
draws its own, one after the other: the first n do not depend on how many follow.

Alpha is one more channel, not decorrelated: 1 opaque, 0 transparent, near 0.5 at the start. It is optimised with the
picture where the ascent lays the picture over something by it, and costs nothing otherwise.

Pitfalls: parameters of the three kinds have other scales; 0.05 is a step for P and S, MaCo's p takes 1. Alpha's own
parameters beside p are scaled to go with it: at p's step alpha would be black and white after a few updates. A given
start is reached to the rounding of the dtype, but for pixels nearer than 1/512 to black or white, which come that near.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.synthesis.colour_basis import image_of_values, values_of_image
from convscope.synthesis.spectra import (
    mirrors_itself,
    natural_magnitude,
    polar_of,
    slow_values_of_spectrum,
    spectrum_of,
    values_of_phase,
    values_of_spectrum,
)
from convscope.synthesis.starts import check_sd, ground, leaves

START_SD = 0.01  # lucid, param/spatial.py
ALPHA_PACE = 0.05  # beside phases, whose step is 20 times that of a Fourier image


@runtime_checkable
class Canvas(Protocol):
    """Parameters that draw a batch of pictures."""

    @property
    def parameters(self) -> list[Tensor]:
        """The leaves to optimise, with the batch as their first axis."""
        ...

    def image(self) -> Float[Tensor, "b c h w"]:
        """The pictures that the parameters draw now, in [0, 1], with their graph."""
        ...

    def alpha(self) -> Float[Tensor, "b 1 h w"] | None:
        """How opaque each pixel is, in [0, 1]; None for a canvas without alpha."""
        ...


@dataclass(frozen=True, eq=False)
class Painting:
    """A canvas whose pictures, and whose opacity where it has one, are functions of one parameter each."""

    colours: Tensor
    values: Callable[[Tensor], Tensor]  # of colours: (b, c, h, w) without bounds
    decorrelated: bool
    opacity: Tensor | None
    opacity_values: Callable[[Tensor], Tensor]

    @property
    def parameters(self) -> list[Tensor]:
        """The leaves to optimise: of the picture, then of alpha."""
        return [self.colours] if self.opacity is None else [self.colours, self.opacity]

    def image(self) -> Float[Tensor, "b c h w"]:
        """sigmoid(C V) of the parameters as they are now."""
        return image_of_values(self.values(self.colours), self.decorrelated)

    def alpha(self) -> Float[Tensor, "b 1 h w"] | None:
        """The sigmoid of the opacity's values."""
        return None if self.opacity is None else torch.sigmoid(self.opacity_values(self.opacity))


def pixel_canvas(
    b: int,
    c: int,
    h: int,
    w: int,
    *,
    generator: torch.Generator,
    sd: float = START_SD,
    decorrelated: bool | None = None,
    alpha: bool = False,
    own_starts: bool = False,
    start: Float[Tensor, "_ _ _ _"] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Painting:
    """Values at every pixel: what is changed is what is seen, and grain grows as readily as shapes.

    Args:
        b: pictures.
        c: channels.
        h: height.
        w: width.
        generator: of the start; the same seed gives the same start.
        sd: standard deviation of the parameters at the start; 0 is grey.
        decorrelated: the parameters are decorrelated colours; None is yes for three channels, no for others.
        alpha: with an opacity.
        own_starts: each picture draws its own start; by default all have the same.
        start: pictures in [0, 1] to start from, one for all or b of them; nothing is drawn for them.
        device: of the parameters.
        dtype: float32 or float64.

    Raises:
        ConvscopeError: a size below 1, a start of another shape or out of [0, 1], channels that cannot be decorrelated,
            ``sd`` that is no standard deviation.
    """
    check_sd(sd)
    on = ground(
        (b, c, h, w),
        generator=generator,
        decorrelated=decorrelated,
        alpha=alpha,
        own_starts=own_starts,
        start=start,
        device=device,
        dtype=dtype,
    )
    given = None if on.start is None else values_of_image(on.start, on.decorrelated)
    draws = [on.normal(c, h, w, sd=sd), *([on.normal(1, h, w, sd=sd)] if alpha else [])]
    return _painting(leaves(on, given, draws), _itself, on.decorrelated, _itself)


def fourier_canvas(
    b: int,
    c: int,
    h: int,
    w: int,
    *,
    generator: torch.Generator,
    sd: float = START_SD,
    decorrelated: bool | None = None,
    alpha: bool = False,
    own_starts: bool = False,
    start: Float[Tensor, "_ _ _ _"] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Painting:
    """Fourier coefficients over the 1 / frequency of photos: shapes grow as readily as grain.

    Arguments and errors as ``pixel_canvas``; ``sd`` is that of the real and of the imaginary parts.
    """
    check_sd(sd)
    on = ground(
        (b, c, h, w),
        generator=generator,
        decorrelated=decorrelated,
        alpha=alpha,
        own_starts=own_starts,
        start=start,
        device=device,
        dtype=dtype,
    )
    given = None if on.start is None else spectrum_of(values_of_image(on.start, on.decorrelated))
    f = w // 2 + 1
    draws = [on.normal(c, h, f, 2, sd=sd), *([on.normal(1, h, f, 2, sd=sd)] if alpha else [])]
    smooth = partial(values_of_spectrum, w=w)
    return _painting(leaves(on, given, draws), smooth, on.decorrelated, smooth)


def maco_canvas(
    b: int,
    c: int,
    h: int,
    w: int,
    *,
    generator: torch.Generator,
    magnitude: Float[Tensor, "_ _ _ _"] | None = None,
    contrast: int | float = 1,
    decorrelated: bool | None = None,
    alpha: bool = False,
    own_starts: bool = False,
    start: Float[Tensor, "_ _ _ _"] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Painting:
    """The phases of Fourier coefficients whose magnitudes stay those of photos: every frequency keeps its contrast.

    The other arguments and errors as ``pixel_canvas``. Alpha is that of ``fourier_canvas``.

    Args:
        magnitude: of the coefficients (1 or b, c, h, w // 2 + 1), as ``magnitude_of`` makes it from pictures; by
            default the start's own, or without a start that of photos, ``natural_magnitude``.
        contrast: how many times that of photos, where it is theirs.
        b: pictures.
        c: channels.
        h: height.
        w: width.
        generator: of the start's phases.
        decorrelated: see ``pixel_canvas``; the magnitudes are those of decorrelated colours then.
        alpha: with an opacity.
        own_starts: each picture draws its own phases.
        start: pictures whose phases to start from; drawn exactly where no magnitude is given.
        device: of the parameters.
        dtype: float32 or float64.

    Raises:
        ConvscopeError: also for a magnitude of another shape, negative, not finite, or of no real picture.
    """
    on = ground(
        (b, c, h, w),
        generator=generator,
        decorrelated=decorrelated,
        alpha=alpha,
        own_starts=own_starts,
        start=start,
        device=device,
        dtype=dtype,
    )
    f = w // 2 + 1
    with torch.inference_mode(False), torch.no_grad():
        phase, own = (None, None) if on.start is None else polar_of(values_of_image(on.start, on.decorrelated))
        fixed = _checked_magnitude(magnitude, (b, c, h, f), w) if magnitude is not None else own
        if fixed is None:
            fixed = contrast * natural_magnitude(c, h, w, decorrelated=on.decorrelated, like=on.like)
        fixed = fixed.to(on.like)
    draws = [on.angles(c, h, f), *([on.normal(1, h, f, 2, sd=START_SD / ALPHA_PACE)] if alpha else [])]
    drawn = partial(values_of_phase, magnitude=fixed, w=w)
    opaque = partial(slow_values_of_spectrum, w=w, pace=ALPHA_PACE)
    return _painting(leaves(on, phase, draws), drawn, on.decorrelated, opaque)


def _checked_magnitude(magnitude: Tensor, size: tuple[int, int, int, int], w: int) -> Tensor:
    shape = tuple(magnitude.shape)
    if magnitude.ndim != 4 or shape[0] not in (1, size[0]) or shape[1:] != size[1:]:
        raise ConvscopeError(
            f"magnitude of shape {shape}: give one for all, {(1, *size[1:])}, or one for each, {size}; "
            "the last axis is w // 2 + 1 long"
        )
    if not bool((magnitude.isfinite() & (magnitude >= 0)).all()):
        raise ConvscopeError("magnitude has values that are negative or not finite: it is a modulus")
    if not mirrors_itself(magnitude, w):
        raise ConvscopeError("magnitude is that of no real picture: its redundant half differs; see magnitude_of")
    return magnitude.detach().clone()


def _painting(
    parameters: list[Tensor], values: Callable[[Tensor], Tensor], basis: bool, opaque: Callable[[Tensor], Tensor]
) -> Painting:
    colours, opacity = parameters[0], (parameters[1] if len(parameters) > 1 else None)
    return Painting(colours, values, basis, opacity, opaque)


def _itself(values: Tensor) -> Tensor:
    return values
