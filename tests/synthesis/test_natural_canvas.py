"""The natural canvas: a bound on each band's energy, against sums over a full FFT; starts, batches, what is refused."""

import math

import pytest
import torch
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.synthesis.colour_basis import values_of_image
from convscope.synthesis.natural_canvas import bands, energies, natural_canvas, shaped_magnitude
from convscope.synthesis.spectra import natural_magnitude
from tests import nets

SIZES = [(12, 12), (11, 9), (9, 16)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def full_energies(values: Tensor) -> list[list[float]]:
    """Energy of each channel of the first picture by half octaves, coefficient by coefficient of the full FFT."""
    h, w = values.shape[-2:]
    spectrum = torch.fft.fft2(values[0], norm="ortho")
    found: list[list[float]] = []
    for channel in spectrum:
        sums: dict[int, float] = {}
        for i in range(h):
            for j in range(w):
                y, x = (k - n if 2 * k > n else k for k, n in ((i, h), (j, w)))
                cycles = math.hypot(y / h, x / w) * max(h, w)
                band = math.floor(2 * math.log2(max(cycles, 1)) + 1e-9)
                sums[band] = sums.get(band, 0.0) + abs(channel[i, j].item()) ** 2
        found.append([sums.get(band, 0.0) for band in range(max(sums) + 1)])
    return found


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_the_energy_of_a_band_is_that_of_the_full_spectrum(h: int, w: int) -> None:
    values = nets.images(1, h=h, w=w)
    got = energies(torch.fft.rfft2(values, norm="ortho").abs(), w)
    assert torch.allclose(got[0], torch.tensor(full_energies(values), dtype=torch.float64), rtol=1e-9, atol=1e-9)
    assert torch.allclose(got.sum(-1), values.square().sum((2, 3)), rtol=1e-9)  # Parseval


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_however_far_the_parameters_went_no_band_has_more_than_its_share_of_photos(h: int, w: int) -> None:
    canvas = natural_canvas(1, 3, h, w, generator=seeded(), contrast=2, dtype=torch.float64)
    scale = 2 * shaped_magnitude(3, h, w, decorrelated=True, like=torch.zeros(0, dtype=torch.float64))
    with torch.no_grad():
        canvas.colours.mul_(50)
    got = energies(torch.fft.rfft2(canvas.values(canvas.colours), norm="ortho").abs(), w)
    assert torch.allclose(got, energies(scale, w), rtol=1e-9)
    with torch.no_grad():  # below the bound nothing is scaled
        canvas.colours.mul_(1e-4)
        first = canvas.values(canvas.colours)
        assert torch.allclose(canvas.values(canvas.colours / 2), first / 2, rtol=1e-9, atol=1e-15)
        assert energies(torch.fft.rfft2(first, norm="ortho").abs(), w).sum() < 0.01 * energies(scale, w).sum()


def test_a_step_turns_the_picture_less_the_further_the_parameters_are() -> None:
    near, far = (natural_canvas(1, 3, 12, 12, generator=seeded(), dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        far.colours.mul_(80)
        near.colours.mul_(20)
        assert torch.allclose(near.image(), far.image(), rtol=0, atol=1e-12)
    slopes = [
        torch.autograd.grad((canvas.image() * nets.images(1)).sum(), canvas.colours)[0].norm() for canvas in (near, far)
    ]
    assert torch.allclose(slopes[0] * 20, slopes[1] * 80, rtol=1e-9)


@pytest.mark.parametrize("c", [1, 3, 5])
def test_a_start_is_drawn_exactly_whatever_its_contrast_and_mean(c: int) -> None:
    generator = seeded(3)
    start = torch.rand(2, c, 11, 14, generator=generator, dtype=torch.float64) * 0.8 + 0.15
    canvas = natural_canvas(2, c, 11, 14, generator=generator, start=start, dtype=torch.float64)
    assert torch.allclose(canvas.image(), start, rtol=0, atol=1e-9)
    flat = torch.full((1, c, 8, 8), 0.3, dtype=torch.float64)
    grey = natural_canvas(1, c, 8, 8, generator=generator, start=flat, dtype=torch.float64)
    assert torch.allclose(grey.image(), flat, rtol=0, atol=1e-12)
    (slope,) = torch.autograd.grad((grey.image() * torch.rand(8, 8, generator=generator)).sum(), grey.colours)
    assert bool(slope.isfinite().all())
    assert slope.abs().max() > 0  # a flat picture is no dead end


def test_a_pale_start_may_gain_the_contrast_of_photos_and_a_hard_one_keeps_its_own() -> None:
    noise = torch.rand(1, 3, 16, 16, generator=seeded(4), dtype=torch.float64) - 0.5
    scale = 1.2 * shaped_magnitude(3, 16, 16, decorrelated=True, like=torch.zeros(0, dtype=torch.float64))
    photos = energies(scale, 16)
    for strength in (0.001, 0.9):
        start = 0.5 + strength * noise
        canvas = natural_canvas(1, 3, 16, 16, generator=seeded(), start=start, dtype=torch.float64)
        values = values_of_image(start, True)
        own = energies(torch.fft.rfft2(values - values.mean((2, 3), keepdim=True), norm="ortho").abs(), 16)
        assert bool((own < photos).all() if strength < 0.1 else (own > photos).any())
        with torch.no_grad():
            drawn = canvas.values(1e6 * canvas.colours)
        got = energies(torch.fft.rfft2(drawn - drawn.mean((2, 3), keepdim=True), norm="ortho").abs(), 16)
        assert torch.allclose(got, torch.maximum(own, photos), rtol=1e-6)


def test_the_magnitudes_are_those_of_photos_with_more_colour_and_fewer_clouds_and_grain() -> None:
    """Oracle: the damping by hand, at its two frequencies and between; the finer one goes with 1 / sqrt(side)."""
    like = torch.zeros(0, dtype=torch.float64)
    for side in (100, 400):
        shaped = shaped_magnitude(3, side, side, decorrelated=True, like=like)
        share = (shaped / natural_magnitude(3, side, side, decorrelated=True, like=like))[0]
        for k in (1, 4, 12, 30):
            f, fine = k / side, 0.115 * math.sqrt(224 / side)
            damping = f / math.hypot(f, 0.01) / math.hypot(1, f / fine)
            assert share[:, 0, k].tolist() == pytest.approx([damping, 1.7 * damping, 1.7 * damping])


def test_the_start_is_at_the_bound_of_a_contrast_of_1_2() -> None:
    """By default: 1.2 times the shaped magnitudes, with as much energy in each band as chance gives it, at most."""
    canvas = natural_canvas(1, 3, 64, 64, generator=seeded(), dtype=torch.float64)
    scale = 1.2 * shaped_magnitude(3, 64, 64, decorrelated=True, like=torch.zeros(0, dtype=torch.float64))
    got = energies(torch.fft.rfft2(canvas.values(canvas.colours), norm="ortho").abs(), 64)
    assert (got <= energies(scale, 64) * (1 + 1e-9)).all()
    assert torch.allclose(got.sum(-1), energies(scale, 64).sum(-1), rtol=0.3)


def test_the_mean_stays_grey_and_starts_are_shared_by_the_batch() -> None:
    canvas = natural_canvas(3, 3, 16, 16, generator=seeded(), dtype=torch.float64)
    image = canvas.image()
    assert torch.equal(image[0], image[2])
    assert values_of_image(image, True).mean((2, 3)).abs().max() < 1e-9
    own = natural_canvas(3, 3, 16, 16, generator=seeded(), own_starts=True).image()
    assert (own[0] - own[2]).abs().max() > 0.1
    assert torch.allclose(own[:1].double(), image[:1], rtol=0, atol=1e-5)


def test_bands_are_half_octaves_from_one_cycle_a_picture() -> None:
    which = bands(16, 16, like=torch.zeros(0))
    assert which[0, :].tolist() == [0, 0, 2, 3, 4, 4, 5, 5, 6]


@pytest.mark.parametrize("contrast", [0, -1, math.inf, math.nan])
def test_no_contrast_is_refused(contrast: float) -> None:
    with pytest.raises(ConvscopeError, match=r"contrast .*: a number above 0"):
        natural_canvas(1, 3, 8, 8, generator=seeded(), contrast=contrast)
