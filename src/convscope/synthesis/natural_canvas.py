"""Pictures whose contrast is that of photos at every scale: Fourier coefficients under a budget for each half octave.

A photo's spectrum falls off by one law (``spectra.natural_magnitude``). Ascent without bounds leaves it: it piles up
grain at the network's strides and colour that no photo has. MaCo (Fel et al. 2023, arXiv:2306.06805) fixes the
magnitude of every coefficient, so that a picture is busy everywhere, object or not. Here only the energy of each band
of frequencies has a bound, and may gather where the object is:

    values = m + irfft2(r X),    X = N S,    r(band) = min(1, sqrt(E(band) / sum_band |X|^2)),    E = sum_band N^2

S are the parameters, N the magnitudes of photos, m the mean colour, which does not climb. A Parseval sum over a band
counts a coefficient of rfft2 twice where its mirror is left out. S starts with standard deviation 1, at the bound.
While it grows r falls, and one step of the optimiser turns the picture less and less.

N differs from the measured law in three places, found by looking at pictures of SqueezeNet's classes: colour (against
light and dark) is ``CHROMA`` times as strong; the finest frequencies, where grain sits, and the coarsest, which are
clouds and light, are damped.

A start of higher contrast than photos have keeps its own: then E is the start's, band by band.
"""

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.synthesis.canvases import START_SD, Painting
from convscope.synthesis.colour_basis import values_of_image
from convscope.synthesis.spectra import natural_magnitude, radial_frequency, slow_values_of_spectrum
from convscope.synthesis.starts import check_sd, ground, leaves

CONTRAST = 1.2  # times that of photos; looked at from 0.7 (pale) to 1.5 (hard)
CHROMA = 1.7  # looked at from 1 (school buses turn into dogs) to 2 (gaudy)
# cycles a pixel, where damping has reached 1 / sqrt(2); FINE at a side of 224 px: it goes with 1 / sqrt(side), since in
# a smaller picture the detail of the same object is finer; looked at for pictures of 32, 64 and 192 px
FINE, COARSE = 0.115, 0.01
BANDS_AN_OCTAVE = 2
NATURAL_SD = 1.0
ALPHA_PACE = 0.1  # alpha's parameters are those of a Fourier image, whose step is a tenth of that here


def natural_canvas(
    b: int,
    c: int,
    h: int,
    w: int,
    *,
    generator: torch.Generator,
    sd: float = NATURAL_SD,
    contrast: int | float = CONTRAST,
    decorrelated: bool | None = None,
    alpha: bool = False,
    own_starts: bool = False,
    start: Float[Tensor, "_ _ _ _"] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Painting:
    """Fourier coefficients whose energy in a band of frequencies is at most that of photos.

    Arguments and errors as ``canvases.pixel_canvas``.

    Args:
        contrast: how many times that of photos the bound is.
        b: pictures.
        c: channels.
        h: height.
        w: width.
        generator: of the start.
        sd: standard deviation of the parameters at the start, in magnitudes of photos.
        decorrelated: see ``pixel_canvas``.
        alpha: with an opacity.
        own_starts: each picture draws its own start.
        start: pictures to start from; drawn exactly.
        device: of the parameters.
        dtype: float32 or float64.

    Raises:
        ConvscopeError: also for a contrast that is not above 0.
    """
    check_sd(sd)
    if not 0 < contrast < float("inf"):
        raise ConvscopeError(f"contrast {contrast}: a number above 0, 1 for that of photos")
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
        scale = contrast * shaped_magnitude(c, h, w, decorrelated=on.decorrelated, like=on.like.double().cpu())
        given, mean, bound = None, torch.zeros(1, c, 1, 1, dtype=scale.dtype), energies(scale, w)
        if on.start is not None:
            values = values_of_image(on.start, on.decorrelated)
            mean = values.mean((2, 3), keepdim=True)
            spectrum = torch.fft.rfft2(values - mean, norm="ortho")
            bound = torch.maximum(bound, energies(spectrum.abs(), w))
            given = torch.view_as_real(torch.where(scale > 0, spectrum / scale, 0))
        drawn = partial(bounded_values, scale=scale.to(on.like), bound=bound.to(on.like), mean=mean.to(on.like), w=w)
    draws = [on.normal(c, h, f, 2, sd=sd), *([on.normal(1, h, f, 2, sd=START_SD / ALPHA_PACE)] if alpha else [])]
    parameters = leaves(on, given, draws)
    opaque = partial(slow_values_of_spectrum, w=w, pace=ALPHA_PACE)
    return Painting(parameters[0], drawn, on.decorrelated, parameters[1] if alpha else None, opaque)


def shaped_magnitude(c: int, h: int, w: int, *, decorrelated: bool, like: Tensor) -> Float[Tensor, "1 c h f"]:
    """N: photos' magnitudes, with more colour, less grain and fewer clouds."""
    frequency = radial_frequency(h, w, like=like)
    fine = FINE * math.sqrt(224 / min(h, w))
    damping = frequency / torch.sqrt(frequency**2 + COARSE**2) / torch.sqrt(1 + (frequency / fine) ** 2)
    gain = torch.ones(c, 1, 1, dtype=like.dtype, device=like.device)
    if decorrelated:
        gain[1:] = CHROMA
    return natural_magnitude(c, h, w, decorrelated=decorrelated, like=like) * damping * gain


def bounded_values(
    parameters: Float[Tensor, "b c h f 2"],
    *,
    scale: Float[Tensor, "1 c h f"],
    bound: Float[Tensor, "#b c n"],
    mean: Float[Tensor, "#b c 1 1"],
    w: int,
) -> Float[Tensor, "b c h w"]:
    """M + irfft2(r N S), orthonormal."""
    spectrum = of_real_picture(torch.view_as_complex(parameters) * scale, w)
    found = energies_of_squares(spectrum.real.square() + spectrum.imag.square(), w)
    tiny = torch.finfo(found.dtype).tiny
    share = (bound / found.clamp(min=tiny)).clamp(min=tiny, max=1).sqrt()  # a slope of sqrt at 0 is infinite
    h = parameters.shape[-3]
    spectrum = spectrum * share[..., bands(h, w, like=found)]
    return mean + torch.fft.irfft2(spectrum, s=(h, w), norm="ortho")


def of_real_picture(spectrum: Tensor, w: int) -> Tensor:
    """What irfft2 uses of a spectrum: where columns mirror themselves, the part that is conjugate-symmetric."""
    column = torch.arange(spectrum.shape[-1], device=spectrum.device)
    mirrored = spectrum.flip(-2).roll(1, -2).conj()
    return torch.where((column == 0) | (2 * column == w), (spectrum + mirrored) / 2, spectrum)


def energies(magnitude: Float[Tensor, "b c h f"], w: int) -> Float[Tensor, "b c n"]:
    """The energy of a picture of width ``w`` in each band, of the magnitudes of its rfft2."""
    return energies_of_squares(magnitude.square(), w)


def energies_of_squares(squares: Float[Tensor, "b c h f"], w: int) -> Float[Tensor, "b c n"]:
    """The same, of squared magnitudes."""
    h, f = squares.shape[-2:]
    column = torch.arange(f, device=squares.device)
    counted = torch.where((column == 0) | (2 * column == w), 1.0, 2.0).to(squares)
    which = bands(h, w, like=squares)
    empty = squares.new_zeros(*squares.shape[:2], int(which.max()) + 1)
    return empty.index_add(-1, which.flatten(), (squares * counted).flatten(-2))


def bands(h: int, w: int, *, like: Tensor) -> Tensor:
    """``(h, f)``: the number of the half octave that each coefficient is in, counted from one cycle a picture."""
    cycles = radial_frequency(h, w, like=like.new_empty(0, dtype=torch.float64)) * max(h, w)
    return (BANDS_AN_OCTAVE * torch.log2(cycles.clamp(min=1)) + 1e-9).floor().long()
