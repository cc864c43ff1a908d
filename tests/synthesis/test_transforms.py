"""Transforms: identities, rot90, numpy's mirror, slow bilinear loops, one draw a batch, constants, undoing, bounds."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.synthesis.transforms import (
    LUCID_DEGREES,
    LUCID_FACTORS,
    Transform,
    compose,
    draw_shift,
    jitter,
    lucid_like,
    pad,
    padded,
    rolled,
    rotate,
    rotate_one_of,
    rotated,
    scale,
    scale_one_of,
    scaled,
    shifted,
)
from tests import nets

EXACT: Any = {"rtol": 0, "atol": 1e-12}
EVERY: dict[str, Transform] = {
    "pad": pad(5),
    "jitter": jitter(4),
    "scale": scale(0.5, 1.5),
    "scale_one_of": scale_one_of([0.8, 1.3]),
    "rotate": rotate(50),
    "rotate_one_of": rotate_one_of([-33.0, 45.0]),
    "lucid_like": lucid_like(),
    "compose": compose(rotate(10), scale(0.9, 1.1), jitter(2)),
}
every = pytest.mark.parametrize("transform", EVERY.values(), ids=EVERY.keys())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fold(i: float, side: int) -> float:
    """A coordinate beyond the image, back in by mirrors at 0 and side - 1."""
    i = abs(i) % (2 * (side - 1))
    return min(i, 2 * (side - 1) - i)


def slow_reading(image: Tensor, degrees: float, factor: float) -> Tensor:
    """Each pixel turned back, shrunk back, folded back into the image, and read off its four neighbours."""
    h, w = image.shape[2:]
    found = torch.zeros_like(image)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    for row in range(h):
        for column in range(w):
            # from the middle, x to the right and y UP, as in school: a turn back by the angle
            x, y = column - (w - 1) / 2, (h - 1) / 2 - row
            x, y = (cos * x + sin * y) / factor, (cos * y - sin * x) / factor
            x, y = fold(x + (w - 1) / 2, w), fold((h - 1) / 2 - y, h)
            x0, y0 = min(int(x), w - 2), min(int(y), h - 2)
            for dy in (0, 1):
                for dx in (0, 1):
                    share = abs(1 - dx - (x - x0)) * abs(1 - dy - (y - y0))
                    found[..., row, column] += share * image[..., y0 + dy, x0 + dx]
    return found


# ---- the moves ----


@pytest.mark.parametrize(("h", "w"), [(5, 7), (6, 4), (2, 3), (1, 4), (1, 1)])
@pytest.mark.parametrize("px", [0, 1, 3, 11])
def test_padding_is_numpys_mirror_at_any_distance(h: int, w: int, px: int) -> None:
    image = nets.images(2, 3, h, w)
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (px, px), (px, px)), mode="reflect")
    assert torch.equal(padded(image, px), torch.from_numpy(expected))


@pytest.mark.parametrize("shift", [(0, 0), (2, 0), (0, -3), (-1, 2), (9, -9)])
def test_a_shift_moves_down_and_right_and_mirrors(shift: tuple[int, int]) -> None:
    """Pixel by pixel: found[y, x] = image[y - dy, x - dx], folded at the outermost pixels."""
    image = nets.images(1, 2, 5, 6)
    found = shifted(image, shift)
    assert found.shape == image.shape
    for y in range(5):
        for x in range(6):
            source = image[..., int(fold(y - shift[0], 5)), int(fold(x - shift[1], 6))]
            assert torch.equal(found[..., y, x], source)


@pytest.mark.parametrize("side", [5, 6])
@pytest.mark.parametrize("turns", [-1, 1, 2, 3, 4])
def test_a_quarter_turn_is_rot90(side: int, turns: int) -> None:
    image = nets.images(2, 3, side, side)
    assert torch.allclose(rotated(image, 90.0 * turns), torch.rot90(image, turns, (2, 3)), **EXACT)


@pytest.mark.parametrize(("degrees", "factor"), [(10.0, 1.0), (-37.0, 1.0), (123.0, 1.0), (0.0, 1.1), (0.0, 0.3)])
@pytest.mark.parametrize(("h", "w"), [(6, 6), (5, 8), (7, 2)])
def test_a_reading_equals_a_slow_loop(degrees: float, factor: float, h: int, w: int) -> None:
    image = nets.images(2, 3, h, w)
    found = scaled(image, factor) if degrees == 0 else rotated(image, degrees)
    assert torch.allclose(found, slow_reading(image, degrees, factor), **EXACT)


def test_scale_enlarges_about_the_middle() -> None:
    """A linear ramp about the middle, factor s: the ramp with slope / s, exactly, where nothing is mirrored."""
    ramp = (torch.arange(9, dtype=torch.float64) - 4).expand(1, 1, 9, 9)
    assert torch.allclose(scaled(ramp, 2.0), ramp / 2, **EXACT)
    assert torch.allclose(scaled(ramp, 0.8)[..., 1:-1], ramp[..., 1:-1] / 0.8, **EXACT)


@pytest.mark.parametrize("move", [lambda x: rotated(x, 0.0), lambda x: scaled(x, 1.0), lambda x: padded(x, 0)])
def test_nothing_asked_is_the_identity(move) -> None:
    image = nets.images(2, dtype=torch.float32)
    assert torch.equal(move(image), image)
    assert torch.equal(shifted(image, (0, 0)), image)


def test_nothing_drawn_is_the_identity(generator: torch.Generator) -> None:
    image = nets.images(2, dtype=torch.float32)
    none = (jitter(0), rotate(0), scale(1, 1), pad(0), rotate_one_of([0]), scale_one_of([1]), compose())
    for transform in (*none, compose(*none)):
        assert torch.equal(transform(image, generator), image)


@pytest.mark.parametrize("shift", [(3, -5), (0, 0), (-40, 7)])
def test_a_roll_is_undone_to_the_bit(shift: tuple[int, int]) -> None:
    image = nets.images(2, dtype=torch.float32)
    there = rolled(image, shift)
    assert torch.equal(there[:, :, shift[0] % 12, shift[1] % 12], image[:, :, 0, 0])  # the first pixel went there
    assert torch.equal(rolled(there, (-shift[0], -shift[1])), image)


# ---- drawn ----


@every
def test_all_images_of_a_batch_move_alike(transform: Transform) -> None:
    """Invariant: batch = single runs from the same seed, to the bit; other channels too move alike."""
    images = nets.images(3, 4, 20, 17, dtype=torch.float32)
    together = transform(images, seeded(3))
    for i in range(3):
        assert torch.equal(together[i : i + 1], transform(images[i : i + 1], seeded(3)))
    same = transform(images[:1, :1].expand(3, 4, -1, -1), seeded(3))
    assert torch.equal(same, same[:1, :1].expand_as(same))


@every
def test_a_seed_gives_the_same_and_the_next_draw_another(transform: Transform) -> None:
    image = nets.images(1, 3, 20, 17, dtype=torch.float32)
    one, other = seeded(4), seeded(4)
    first = [transform(image, one) for _ in range(6)]
    again = [transform(image, other) for _ in range(6)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(one.get_state(), other.get_state())
    if transform is not EVERY["pad"]:
        assert any(not torch.equal(first[0], later) for later in first[1:])


@every
def test_the_draw_does_not_depend_on_the_size_or_the_batch(transform: Transform) -> None:
    one, other = seeded(5), seeded(5)
    transform(nets.images(1, 3, 20, 17), one)
    transform(nets.images(3, 1, 9, 11), other)
    assert torch.equal(one.get_state(), other.get_state())


@every
def test_a_constant_stays_constant(transform: Transform, generator: torch.Generator) -> None:
    """No black border, no grey one: shares of every reading sum to 1, in every corner, on long images too."""
    for h, w in ((9, 9), (3, 40), (2, 2)):
        constant = torch.full((1, 3, h, w), 0.7, dtype=torch.float64)
        for _ in range(5):
            moved = transform(constant, generator)
            assert torch.allclose(moved, torch.full_like(moved, 0.7), **EXACT)


@every
def test_sizes_kinds_and_channels_are_as_documented(transform: Transform, generator: torch.Generator) -> None:
    """``pad`` grows by 2 px a side, all others keep the size; half precision stays what it is."""
    more = 10 if transform is EVERY["pad"] else 0
    for c, h, w in ((1, 8, 8), (3, 7, 12), (5, 1, 6)):
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
            moved = transform(nets.images(2, c, h, w, dtype=dtype), generator)
            assert moved.shape == (2, c, h + more, w + more)
            assert moved.dtype == dtype


def test_half_precision_does_not_move_the_picture(generator: torch.Generator) -> None:
    """Against float64 at 600 px, where a half-precision coordinate would be half a pixel off."""
    image = nets.images(1, 1, 600, 600).half()
    found, exact = rotated(image, 10.0), rotated(image.double(), 10.0)
    assert torch.allclose(found.double(), exact, atol=4e-3)


@every
def test_the_gradient_is_that_of_finite_differences(transform: Transform) -> None:
    image = nets.images(2, 1, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: transform(x, seeded(1)), (image,))


def test_jitter_draws_every_shift_alike(generator: torch.Generator) -> None:
    """4,900 draws over 7 x 7 shifts, 100 each: chi squared of 48 degrees stays below its 99.99 % point, 92."""
    counts: dict[tuple[int, int], int] = {}
    for _ in range(4900):
        shift = draw_shift(3, generator)
        counts[shift] = counts.get(shift, 0) + 1
    assert set(counts) == {(y, x) for y in range(-3, 4) for x in range(-3, 4)}
    assert sum((n - 100) ** 2 / 100 for n in counts.values()) < 92


def test_factors_and_angles_fill_their_bounds(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    """500 draws: within the bounds, and within a twentieth of the width of each of them."""
    from convscope.synthesis import transforms as module

    image, seen = nets.images(1), list[float]()
    monkeypatch.setattr(module, "scaled", lambda image, factor: seen.append(factor) or image)
    monkeypatch.setattr(module, "rotated", lambda image, degrees: seen.append(degrees) or image)
    for transform, low, high in ((scale(0.9, 1.1), 0.9, 1.1), (rotate(10), -10, 10)):
        seen.clear()
        for _ in range(500):
            transform(image, generator)
        assert low <= min(seen) <= low + (high - low) / 20
        assert high - (high - low) / 20 <= max(seen) <= high
    for transform, possible in ((scale_one_of(LUCID_FACTORS), LUCID_FACTORS), (rotate_one_of([1, 2, 2]), (1, 2))):
        seen.clear()
        for _ in range(500):
            transform(image, generator)
        assert set(seen) == set(possible)
    assert 280 < seen.count(2) < 390  # 2 was given twice: two thirds, five standard deviations


def test_compose_goes_from_left_to_right_with_one_generator() -> None:
    image = nets.images(1)
    one, other = seeded(6), seeded(6)
    step = scale(0.5, 2)(jitter(3)(rotate(30)(image, one), one), one)
    assert torch.equal(compose(rotate(30), jitter(3), scale(0.5, 2))(image, other), step)


def test_lucids_numbers() -> None:
    """lucid, optvis/transform.py: factors 0.9 to 1.1 by 0.02; degrees -10 to 10, 0 five times more."""
    assert np.allclose(LUCID_FACTORS, np.linspace(0.9, 1.1, 11), rtol=0, atol=1e-12)
    assert sorted(LUCID_DEGREES) == sorted([*range(-10, 11), 0, 0, 0, 0, 0])


# ---- refusals ----


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: jitter(-1), "jitter of -1"),
        (lambda: pad(-2), "pad of -2"),
        (lambda: draw_shift(-1, seeded()), "jitter of -1"),
        (lambda: scale(0, 1), "scale of 0"),
        (lambda: scale(1.1, 0.9), "the smaller factor comes first"),
        (lambda: scale(0.9, float("inf")), "scale of inf"),
        (lambda: scale_one_of([]), "no factor"),
        (lambda: scale_one_of([1.0, -1.0]), "scale of -1.0"),
        (lambda: rotate(float("nan")), "turn of nan"),
        (lambda: rotate(-5), "0 or more"),
        (lambda: rotate_one_of([]), "no angle"),
        (lambda: rotate_one_of([1.0, float("inf")]), "turn of inf"),
        (lambda: scaled(nets.images(), 0.0), "scale of 0.0"),
        (lambda: rotated(nets.images(), float("nan")), "turn of nan"),
        (lambda: padded(nets.images(), -1), "pad of -1"),
    ],
)
def test_bounds_are_refused_by_name(ask, says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        ask()
