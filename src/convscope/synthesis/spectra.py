"""Pictures as Fourier coefficients: scaled by one over frequency, or of fixed magnitude with the phase free.

rfft2 of an (h, w) picture has (h, f) coefficients X, f = w // 2 + 1, at the frequencies |k| in cycles a pixel.

Fourier image (Olah et al. 2017, doi:10.23915/distill.00007; lucid's ``fft_image``). With S the optimised
``spectrum``, real and imaginary parts apart:

    values = irfft2(s S) / 4,    s(k) = sqrt(h w) / max(|k|, 1 / max(h, w))

Photos fall off as 1 / |k|: in S all frequencies are of one size, and a step of an optimiser changes the large shapes as
readily as the grain. S = rfft2(4 values) / s undoes it, for odd and even sizes alike.

MaCo (Fel et al. 2023, "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization",
arXiv:2306.06805, section 3). With the magnitude M that photos have on the average, and the phase p optimised alone:

    values = irfft2(M e^(i p)) in the orthonormal norm

Pitfalls: the inverse FFT of the Fourier image is in the default norm (divided by h w); in the orthonormal one the same
code starts saturated and the pictures are noise. A real picture's X is conjugate-symmetric: in the column of k_x = 0,
and of k_x = 1/2 where w is even, half of the coefficients mirror the others and two or four are real. irfft2 quietly
takes the symmetric part, which would change magnitudes: ``hermitian_phase`` therefore mirrors the phases, and those of
the real ones stay at 0 or pi, where they started. Without n=w an inverse loses the last column of odd widths.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from convscope.synthesis.colour_basis import values_of_image

# a and p of a / |k|^p: mean |X|, orthonormal, of values_of_image over 200 ImageNet photos cropped square and resized to
# 224 px, fitted in logarithms with low frequencies weighing more, for the three decorrelated channels. At 112 px the
# fit gives 0.125 and 1.33, 0.131 and 1.26, 0.204 and 1.14.
_COLOUR_FALL = ((0.120, 1.29), (0.133, 1.21), (0.204, 1.13))
_PLAIN_FALL = (0.120 / math.sqrt(3), 1.29)  # light against dark, seen in each of the channels: C's first column


def radial_frequency(h: int, w: int, *, like: Tensor) -> Float[Tensor, "h f"]:
    """|k| of every coefficient of rfft2, in cycles a pixel, with the dtype and device of ``like``."""
    down = torch.fft.fftfreq(h, dtype=like.dtype, device=like.device)
    across = torch.fft.rfftfreq(w, dtype=like.dtype, device=like.device)
    return torch.hypot(down[:, None], across[None])


def frequency_scale(h: int, w: int, *, like: Tensor) -> Float[Tensor, "h f"]:
    """s(k) = sqrt(h w) / max(|k|, 1 / max(h, w)) (lucid, ``fft_image``)."""
    return math.sqrt(h * w) / radial_frequency(h, w, like=like).clamp(min=1 / max(h, w))


def values_of_spectrum(spectrum: Float[Tensor, "b c h f 2"], w: int) -> Float[Tensor, "b c h w"]:
    """irfft2(s S) / 4, of width ``w``: f alone does not tell odd from even."""
    h = spectrum.shape[-3]
    scaled = torch.view_as_complex(spectrum) * frequency_scale(h, w, like=spectrum)
    return torch.fft.irfft2(scaled, s=(h, w)) / 4


def slow_values_of_spectrum(spectrum: Float[Tensor, "b c h f 2"], w: int, pace: float) -> Float[Tensor, "b c h w"]:
    """The same of ``pace * spectrum``: a step of an optimiser goes ``pace`` times as far."""
    return values_of_spectrum(pace * spectrum, w)


def spectrum_of(values: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h f 2"]:
    """rfft2(4 values) / s: exactly undoes ``values_of_spectrum``."""
    scale = frequency_scale(*values.shape[-2:], like=values)
    return torch.view_as_real(torch.fft.rfft2(4 * values) / scale)


def hermitian_phase(phase: Float[Tensor, "b c h f"], w: int) -> Float[Tensor, "b c h f"]:
    """The phases of a real picture: mirrored in the columns that mirror themselves, 0 or pi where X is real."""
    h, f = phase.shape[-2:]
    row = torch.arange(h, device=phase.device)[:, None]
    column = torch.arange(f, device=phase.device)[None]
    mirror = (-row) % h
    own_mirror = (column == 0) | (2 * column == w)
    mirrored = torch.where(own_mirror & (row > mirror), -phase[..., mirror[:, 0], :], phase)
    return torch.where(own_mirror & (row == mirror), math.pi * torch.round(phase.detach() / math.pi), mirrored)


def mirrors_itself(magnitude: Float[Tensor, "b c h f"], w: int) -> bool:
    """Whether it is the magnitude of a real picture, to a thousandth of its largest, where that is redundant."""
    column = torch.arange(magnitude.shape[-1], device=magnitude.device)
    own_mirror = magnitude[..., (column == 0) | (2 * column == w)]
    mirrored = own_mirror.flip(-2).roll(1, -2)
    return bool(((own_mirror - mirrored).abs() <= 1e-3 * magnitude.max()).all())


def values_of_phase(
    phase: Float[Tensor, "b c h f"], magnitude: Float[Tensor, "#b c h f"], w: int
) -> Float[Tensor, "b c h w"]:
    """irfft2(M e^(i p)), orthonormal: |rfft2| of it is M, whatever the phases, if M ``mirrors_itself``."""
    spectrum = torch.polar(magnitude.expand_as(phase).contiguous(), hermitian_phase(phase, w))
    return torch.fft.irfft2(spectrum, s=(phase.shape[-2], w), norm="ortho")


def polar_of(values: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h f"], Float[Tensor, "b c h f"]]:
    """Phase and magnitude: exactly undoes ``values_of_phase``."""
    spectrum = torch.fft.rfft2(values, norm="ortho")
    return spectrum.angle(), spectrum.abs()


def natural_magnitude(c: int, h: int, w: int, *, decorrelated: bool, like: Tensor) -> Float[Tensor, "1 c h f"]:
    """M of photos, a / |k|^p as measured (see ``_COLOUR_FALL``); 0 at k = 0, so that a picture is grey on the average.

    The same law holds at every size: photos look alike near and far.
    """
    frequency = radial_frequency(h, w, like=like)
    falls = _COLOUR_FALL if decorrelated else (_PLAIN_FALL,) * c
    channels = [torch.where(frequency > 0, a / frequency.clamp(min=1 / (2 * max(h, w))) ** p, 0.0) for a, p in falls]
    return torch.stack(channels)[None]


def magnitude_of(images: Float[Tensor, "n c h w"], *, decorrelated: bool) -> Float[Tensor, "1 c h f"]:
    """M of given pictures in [0, 1]: the mean of |X| of their values; 0 at k = 0, as ``natural_magnitude``."""
    magnitude = polar_of(values_of_image(images, decorrelated))[1].mean(0, keepdim=True)
    magnitude[..., 0, 0] = 0
    return magnitude
