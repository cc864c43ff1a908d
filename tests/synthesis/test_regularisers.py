"""Regularisers: METHODS' four numbers, slow loops, closed forms, invariance to range, slopes at flat images."""

import math

import pytest
import torch
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.synthesis.regularisers import (
    anisotropic_variation,
    blur,
    l2,
    lp,
    power_sum,
    total_variation,
    variation,
)
from tests import nets

EXACT = {"rtol": 1e-12, "atol": 1e-12}
CORNER = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]], dtype=torch.float64)


def _slow_variation(image: Tensor, beta: float, *, whole: bool = False) -> float:
    """Mahendran & Vedaldi 2015, section 2.1, pixel by pixel, of one image (c, h, w)."""
    total, (_, h, w) = 0.0, image.shape
    for channel in image.tolist():
        for y in range(h if whole else h - 1):
            for x in range(w if whole else w - 1):
                dx = channel[y][x + 1] - channel[y][x] if x + 1 < w else 0.0
                dy = channel[y + 1][x] - channel[y][x] if y + 1 < h else 0.0
                total += (dx * dx + dy * dy) ** (beta / 2)
    return total


# ---- total variation ----


def test_the_four_numbers_that_are_all_called_tv() -> None:
    """METHODS.md, by hand: dx = 1 and dy = 2 at the one corner; all differences are 1, 3, 2, 4."""
    assert variation(CORNER, 2).item() == 5
    assert variation(CORNER, 1).item() == math.sqrt(5)
    assert anisotropic_variation(CORNER, 1).item() == 10
    assert anisotropic_variation(CORNER, 2).item() == 30


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0, 3.0])
def test_variation_equals_a_slow_loop_for_every_image_and_channel(beta: float) -> None:
    images = nets.images(3, 2, 5, 7)
    expected = torch.tensor([_slow_variation(one, beta) for one in images], dtype=torch.float64)
    assert torch.allclose(variation(images, beta), expected, **EXACT)
    whole = torch.tensor([_slow_variation(one, beta, whole=True) for one in images], dtype=torch.float64)
    assert torch.allclose(total_variation(beta, 2.5)(images), whole / (35 * 2.5**beta), **EXACT)


def test_every_pixel_has_its_price_as_a_loss_term() -> None:
    """On the trimmed grid the last one would be free: a dot in the corner of every picture."""
    image = nets.images(1, 1, 5, 7).requires_grad_()
    (slope,) = torch.autograd.grad(total_variation(2)(image).sum(), image)
    (trimmed,) = torch.autograd.grad(variation(image, 2).sum(), image)
    assert trimmed[0, 0, -1, -1] == 0
    assert bool((slope != 0).all())


def test_anisotropic_variation_equals_a_slow_loop() -> None:
    image = nets.images(1, 2, 4, 3)
    expected = 0.0
    for channel in image[0].tolist():
        expected += sum(abs(channel[y + 1][x] - channel[y][x]) ** 1.5 for y in range(3) for x in range(3))
        expected += sum(abs(channel[y][x + 1] - channel[y][x]) ** 1.5 for y in range(4) for x in range(2))
    assert math.isclose(anisotropic_variation(image, 1.5).item(), expected, rel_tol=1e-12)


@pytest.mark.parametrize("beta", [1.0, 1.7, 2.0])
def test_a_weight_means_the_same_at_every_range_and_size(beta: float) -> None:
    """Range: x -> 255 x with 255 times the range changes nothing. Size: a ramp's is (1 - 1/H) slope^beta."""
    images = nets.images(2)
    unit, bytes_ = total_variation(beta, 1.0)(images), total_variation(beta, 255.0)(images * 255)
    assert torch.allclose(unit, bytes_, **EXACT)
    for h, w in ((4, 9), (40, 90)):
        ramp = (0.3 * torch.arange(h, dtype=torch.float64)[:, None] + torch.zeros(w)).expand(1, 1, h, w)
        expected = (1 - 1 / h) * 0.3**beta
        assert math.isclose(total_variation(beta)(ramp).item(), expected, rel_tol=1e-12)


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
def test_the_slope_at_a_flat_image_is_the_subgradient_0(beta: float) -> None:
    flat = torch.full((2, 3, 4, 4), 0.5, requires_grad=True)
    value = variation(flat, beta)
    (slope,) = torch.autograd.grad(value.sum(), flat)
    assert torch.equal(value.detach(), torch.zeros(2))
    assert torch.equal(slope, torch.zeros_like(flat))


def test_flat_places_take_nothing_from_the_slope_elsewhere() -> None:
    """Beta 1, one bright pixel v in the middle of 0: variation (2 + sqrt 2) v, so that is the slope at the pixel."""
    spot = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    spot[0, 0, 2, 2] = 0.25
    spot.requires_grad_()
    value = variation(spot, 1.0)
    (slope,) = torch.autograd.grad(value.sum(), spot)
    assert math.isclose(value.item(), (2 + math.sqrt(2)) * 0.25, rel_tol=1e-12)
    assert math.isclose(slope[0, 0, 2, 2].item(), 2 + math.sqrt(2), rel_tol=1e-12)
    assert bool(slope.isfinite().all())


@pytest.mark.parametrize("tiny", [1e-15, 1e-22, 1e-30])
def test_the_slope_of_differences_too_small_to_square_is_finite(tiny: float) -> None:
    """Bound 2 + sqrt 2, at the pixel itself, with a tenth more: squares near 1e-44 keep one or two digits."""
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = tiny
    image.requires_grad_()
    (slope,) = torch.autograd.grad(variation(image, 1.0).sum(), image)
    assert slope.abs().max().item() <= (2 + math.sqrt(2)) * 1.1


@pytest.mark.parametrize("regulariser", [l2, lp(6), total_variation(1), total_variation(2)])
def test_gradients_are_those_of_finite_differences(regulariser) -> None:
    image = nets.images(2, 2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(regulariser, (image,))


@pytest.mark.parametrize("regulariser", [l2, lp(6), total_variation(1), total_variation(2)])
def test_an_image_counts_for_itself(regulariser) -> None:
    """Invariant: batch = single runs, to the bit."""
    images = nets.images(3)
    assert torch.equal(regulariser(images), torch.cat([regulariser(one[None]) for one in images]))


@pytest.mark.parametrize("regulariser", [l2, lp(6), total_variation(1), total_variation(2), anisotropic_variation])
def test_a_nan_is_not_hidden(regulariser) -> None:
    images = nets.images(2)
    images[0, 1, 3, 3] = float("nan")
    assert regulariser(images).isnan().tolist() == [True, False]


# ---- powers ----


def test_l2_has_its_maximum_where_the_closed_form_says() -> None:
    """Of w . x - lambda |x|^2 the slope at w / (2 lambda) is 0."""
    weights = nets.images(1)
    image = (weights / (2 * 0.7)).requires_grad_()
    (slope,) = torch.autograd.grad(((weights * image).sum((1, 2, 3)) - 0.7 * l2(image)).sum(), image)
    assert slope.abs().max().item() < 1e-12


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 6.0])
def test_powers_equal_a_slow_loop(p: float) -> None:
    """Mahendran & Vedaldi 2015, section 2.1: the p-norm of the vectorised, centred image to the power p."""
    images = nets.images(2, 3, 4, 5)
    expected = torch.tensor([sum(abs(v - 0.4) ** p for v in one.flatten().tolist()) for one in images]).double()
    assert torch.allclose(power_sum(images, p, centre=0.4), expected, rtol=1e-6)
    assert torch.allclose(
        power_sum(images, p, centre=0.4), torch.linalg.vector_norm(images - 0.4, p, (1, 2, 3)) ** p, **EXACT
    )


def test_the_6_norm_means_the_same_at_every_range_and_size() -> None:
    """x -> 255 x with range 255 changes nothing; nor do four tiles of the image in place of one."""
    images = nets.images(2)
    unit = lp(6, centre=0.5)(images)
    assert torch.allclose(lp(6, centre=127.5, value_range=255.0)(images * 255), unit, **EXACT)
    assert torch.allclose(lp(6, centre=0.5)(images.repeat(1, 1, 2, 2)), unit, **EXACT)
    assert torch.allclose(lp(2)(images) * images.shape[2] * images.shape[3], l2(images), **EXACT)


@pytest.mark.parametrize("p", [1.0, 1.5, 6.0])
def test_the_slope_of_a_power_at_its_centre_is_0(p: float) -> None:
    image = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(lp(p, centre=0.5)(image).sum(), image)
    assert torch.equal(slope, torch.zeros_like(image))


def test_half_precision_is_summed_in_single() -> None:
    """192 x 192 x 3 ones are 110,592, beyond what float16 holds."""
    image = torch.ones(1, 3, 192, 192, dtype=torch.float16)
    assert l2(image).item() == 110_592
    assert l2(image).dtype == torch.float32


# ---- blur ----


def test_blur_equals_a_slow_loop() -> None:
    """exp(-d^2 / 2 sigma^2), cut at 3 sigma, sum 1, over the mirrored image (its index folded by hand)."""
    image, sigma = nets.images(1, 2, 5, 4), 0.8
    reach = range(-3, 4)
    weight = {d: math.exp(-0.5 * (d / sigma) ** 2) for d in reach}
    norm = sum(weight.values())

    def fold(i: int, side: int) -> int:
        i %= 2 * (side - 1)
        return min(i, 2 * (side - 1) - i)

    expected = torch.zeros_like(image)
    for y in range(5):
        for x in range(4):
            for dy in reach:
                for dx in reach:
                    share = weight[dy] * weight[dx] / norm**2
                    expected[..., y, x] += share * image[..., fold(y + dy, 5), fold(x + dx, 4)]
    assert torch.allclose(blur(image, sigma), expected, **EXACT)


def test_blur_keeps_constants_sizes_and_kind_and_none_at_sigma_0() -> None:
    image = nets.images(2, 4, 6, 5)
    assert blur(image, 0.0) is image
    constant = torch.full((1, 1, 3, 4), 0.3, dtype=torch.float64)
    assert torch.allclose(blur(constant, 5.0), constant, **EXACT)
    half = image.half()
    assert blur(half, 1.0).dtype == torch.float16
    assert torch.allclose(blur(half, 1.0).double(), blur(image, 1.0), atol=2e-3)


# ---- refusals ----


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: total_variation(0.5), "beta=0.5"),
        (lambda: total_variation(float("nan")), "beta=nan"),
        (lambda: total_variation(2, 0.0), "value_range=0.0"),
        (lambda: total_variation(2, float("inf")), "value_range=inf"),
        (lambda: lp(0.5), "p=0.5"),
        (lambda: lp(6, value_range=-1.0), "value_range=-1.0"),
        (lambda: lp(6, centre=float("nan")), "centre=nan"),
        (lambda: variation(torch.zeros(1, 3, 1, 8)), "1 x 8 px"),
        (lambda: anisotropic_variation(CORNER, 0.0), "power=0.0"),
        (lambda: blur(CORNER, -1.0), "sigma -1.0"),
        (lambda: blur(CORNER, float("nan")), "sigma nan"),
    ],
)
def test_what_cannot_be_is_refused_by_name(ask, says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        ask()
