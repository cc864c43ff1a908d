"""Fourier pictures: exact inverses, the definition as a sum, lucid's code, closed-form statistics, fixed magnitudes."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.synthesis.colour_basis import (
    EDGE,
    correlated,
    decorrelate,
    image_of_values,
    recorrelate,
    values_of_image,
)
from convscope.synthesis.spectra import (
    frequency_scale,
    hermitian_phase,
    magnitude_of,
    mirrors_itself,
    natural_magnitude,
    polar_of,
    spectrum_of,
    values_of_phase,
    values_of_spectrum,
)

EXACT = {"rtol": 0, "atol": 1e-12}
SIZES = [(8, 8), (7, 7), (8, 7), (7, 8), (12, 5), (5, 12), (1, 6), (6, 1), (1, 1), (2, 3)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lucid(spectrum: np.ndarray, h: int, w: int) -> np.ndarray:
    """lucid's fft_image for one picture, (2, c, h, f) to (c, h, w), with rfft2d_freqs; its even widths."""
    fy = np.fft.fftfreq(h)[:, None]
    fx = np.fft.fftfreq(w)[: w // 2 + 1]
    freqs = np.sqrt(fx * fx + fy * fy)
    scale = 1.0 / np.maximum(freqs, 1.0 / max(w, h))
    scale *= np.sqrt(w * h)
    return np.fft.irfft2(scale * (spectrum[0] + 1j * spectrum[1])) / 4.0


def as_a_sum(spectrum: np.ndarray, h: int, w: int) -> np.ndarray:
    """The same from the sum that defines the inverse transform, a wave at a time: (h, f, 2) to (h, w), any width."""
    y, x = np.mgrid[:h, :w]
    total = np.zeros((h, w))
    for i in range(h):
        for j in range(w // 2 + 1):
            down, across = (i if i <= h / 2 else i - h) / h, j / w
            length = max(math.sqrt(down**2 + across**2), 1 / max(h, w))
            twice = 1 if j == 0 or 2 * j == w else 2  # the wave and its conjugate
            wave = (spectrum[i, j, 0] + 1j * spectrum[i, j, 1]) * np.exp(2j * np.pi * (down * y + across * x))
            total += twice * wave.real * math.sqrt(h * w) / length / (h * w)
    return total / 4


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_the_round_trip_is_exact_for_odd_and_even_sizes(h: int, w: int) -> None:
    """Inverse: values to spectrum and back; and once more from the spectrum, whose redundant half is then mirrored."""
    values = normal(2, 3, h, w)
    spectrum = spectrum_of(values)
    assert spectrum.shape == (2, 3, h, w // 2 + 1, 2)
    assert torch.allclose(values_of_spectrum(spectrum, w), values, **EXACT)
    assert torch.allclose(spectrum_of(values_of_spectrum(spectrum, w)), spectrum, **EXACT)


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_values_are_the_sum_of_scaled_waves(h: int, w: int) -> None:
    """Slow replica: a Python loop over the coefficients."""
    spectrum = normal(1, 1, h, w // 2 + 1, 2)
    expected = torch.from_numpy(as_a_sum(spectrum[0, 0].numpy(), h, w))
    assert torch.allclose(values_of_spectrum(spectrum, w)[0, 0], expected, **EXACT)


@pytest.mark.parametrize(("h", "w"), [(8, 8), (7, 10), (16, 6)])
def test_values_are_those_of_lucid(h: int, w: int) -> None:
    """Replica of lucid's numpy and TensorFlow lines, for even widths (it crops a wider picture for odd ones)."""
    spectrum = normal(1, 3, h, w // 2 + 1, 2)
    expected = lucid(spectrum[0].movedim(-1, 0).numpy(), h, w)
    assert torch.allclose(values_of_spectrum(spectrum, w)[0], torch.from_numpy(expected), **EXACT)


@pytest.mark.parametrize(("h", "w"), [(24, 18), (15, 21)])
def test_a_random_spectrum_has_the_variance_that_its_definition_implies(h: int, w: int) -> None:
    """Closed form: (sd / 4)^2 / (h w)^2 * sum of s^2, four times where a wave has a conjugate; 1000 draws."""
    sd, scale = 0.01, frequency_scale(h, w, like=torch.empty(0, dtype=torch.float64))
    column = torch.arange(w // 2 + 1)
    weights = torch.where((column == 0) | (2 * column == w), 1.0, 4.0).double()
    expected = (sd / 4) ** 2 / (h * w) ** 2 * (scale**2 * weights).sum()
    found = values_of_spectrum(sd * normal(1000, 1, h, w // 2 + 1, 2), w).square().mean()
    assert found.item() == pytest.approx(expected.item(), rel=0.05)


# ---- fixed magnitudes ----


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_any_phases_keep_the_magnitude(h: int, w: int) -> None:
    """Invariant: |rfft2| of the values is M, also where coefficients mirror each other or are real."""
    magnitude = torch.fft.rfft2(normal(1, 2, h, w), norm="ortho").abs()
    assert mirrors_itself(magnitude, w)
    values = values_of_phase(3 * normal(4, 2, h, w // 2 + 1, seed=1), magnitude, w)
    assert torch.allclose(torch.fft.rfft2(values, norm="ortho").abs(), magnitude.expand(4, -1, -1, -1), **EXACT)


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_phase_and_magnitude_give_the_picture_back(h: int, w: int) -> None:
    """Inverse, in float64."""
    values = normal(2, 3, h, w)
    assert torch.allclose(values_of_phase(*polar_of(values), w), values, **EXACT)


@pytest.mark.parametrize(("h", "w"), SIZES)
def test_free_phases_are_used_as_they_are(h: int, w: int) -> None:
    """Invariant: of h * f phases only the redundant and the real ones are replaced, h w of the picture's numbers."""
    phase = normal(1, 1, h, w // 2 + 1)
    same = int((hermitian_phase(phase, w) == phase).sum())
    columns = 1 if w % 2 else 2
    real = columns * (1 if h % 2 else 2)
    assert h * w == 2 * same + real


def test_a_magnitude_that_mirrors_nothing_is_seen() -> None:
    """Counterexample: one coefficient of the first column of k_x = 0 without its mirror; the next column is free."""
    magnitude = torch.ones(1, 1, 6, 4, dtype=torch.float64)
    magnitude[..., 2, 1] = 2.0
    assert mirrors_itself(magnitude, 6)
    magnitude[..., 2, 0] = 2.0
    assert not mirrors_itself(magnitude, 6)
    magnitude[..., 4, 0] = 2.0
    assert mirrors_itself(magnitude, 6)


def test_the_magnitude_of_pictures_is_the_mean_over_them() -> None:
    """Slow loop over pictures, with numpy's transform; 0 at k = 0."""
    images = torch.rand(3, 2, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = np.log(images.numpy().clip(EDGE, 1 - EDGE)) - np.log(1 - images.numpy().clip(EDGE, 1 - EDGE))
    expected = np.mean([np.abs(np.fft.rfft2(one)) / math.sqrt(30) for one in values], axis=0)
    expected[:, 0, 0] = 0
    assert torch.allclose(magnitude_of(images, decorrelated=False)[0], torch.from_numpy(expected), **EXACT)


def test_photos_have_the_magnitude_that_is_assumed_of_them(shared) -> None:
    """Real data: 40 ImageNet photos at 128 px, in three bands of frequency, within a third."""
    from PIL import Image

    files = sorted(p for p in (shared / "data" / "imagenet_photos").rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
    photos = [Image.open(file).convert("RGB") for file in files[::5][:40]]
    squares = [one.crop((0, 0, min(one.size), min(one.size))).resize((128, 128)) for one in photos]
    images = torch.stack([torch.from_numpy(np.array(one)).double().movedim(-1, 0) / 255 for one in squares])
    found = magnitude_of(images, decorrelated=True)
    assumed = natural_magnitude(3, 128, 128, decorrelated=True, like=found)
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None])
    for low, high in ((0.01, 0.05), (0.05, 0.15), (0.15, 0.5)):
        band = torch.from_numpy((frequency > low) & (frequency <= high))
        ratio = assumed[0][:, band].mean(1) / found[0][:, band].mean(1)
        assert ((ratio > 0.67) & (ratio < 1.5)).all(), (low, ratio)


# ---- colours ----


def test_the_colour_basis_is_lucids_and_nearly_orthogonal() -> None:
    """Closed form: columns of lucid's matrix over the norm of the first; cosines under 0.12 for its two digits."""
    basis = correlated(torch.empty(0, dtype=torch.float64))
    root = np.asarray([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
    expected = root / np.max(np.linalg.norm(root, axis=0))
    assert torch.allclose(basis, torch.from_numpy(expected), **EXACT)
    unit = basis / basis.norm(dim=0)
    assert (unit.T @ unit - torch.eye(3, dtype=torch.float64)).abs().max() < 0.12


def test_decorrelation_is_undone_exactly() -> None:
    """Inverse both ways; and recorrelation is numpy's product with every pixel, as in lucid."""
    values = normal(2, 3, 4, 5)
    assert torch.allclose(decorrelate(recorrelate(values)), values, **EXACT)
    assert torch.allclose(recorrelate(decorrelate(values)), values, **EXACT)
    flat = values[0].flatten(1).T.numpy() @ correlated(values).numpy().T
    assert torch.allclose(recorrelate(values)[0].flatten(1).T, torch.from_numpy(flat), **EXACT)


@pytest.mark.parametrize("decorrelated", [True, False])
def test_a_picture_comes_back_and_its_extremes_are_held_off(decorrelated: bool) -> None:
    """Inverse within [1/512, 511/512]; beyond, the nearer of the two, which 8 bits still save as black and white."""
    levels = torch.arange(256, dtype=torch.float64)
    image = (levels / 255).expand(3, -1).reshape(1, 3, 16, 16)
    back = image_of_values(values_of_image(image, decorrelated), decorrelated)
    assert torch.allclose(back, image.clamp(EDGE, 1 - EDGE), **EXACT)
    assert torch.equal((255 * back[0, 0]).round().flatten(), levels)
