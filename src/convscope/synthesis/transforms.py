"""Transforms: what a picture must survive, so that it shows the unit and not the pixel grid.

Olah, Mordvintsev & Schubert 2017, "Feature Visualization", Distill, 10.23915/distill.00007, "Transformation robustness"
(first: jitter, Mordvintsev et al. 2015, "Inceptionism"). Without it the ascent finds high-frequency patterns that drive
a unit at one exact position only. In place of f(x) each step climbs f(t(x)), an estimate of

    E_t f(t(x)),        t one draw of shift, scale and turn

A ``Transform`` is ``(image, generator) -> image``. ``jitter``, ``scale``, ``rotate`` make them from bounds; each draws
once a call and moves every image of the batch alike, so that a batch of n pictures equals n single runs, and what it
draws does not depend on the size. The moves themselves, ``shifted``, ``scaled``, ``rotated``, ``padded``, ``rolled``,
take numbers and no generator. With p a pixel of the moved picture and m the middle, each is a bilinear reading of the
image at R(p - m) / factor + m.

Sizes: ``pad`` grows the picture by ``2 px`` a side; all others keep it, so that a network of fixed size takes it.

Edges: what lies beyond is the picture in a mirror whose axis is the outermost pixel (as numpy's ``"reflect"``), at any
distance. A border of black or grey is a strong edge that the ascent would draw towards; a constant picture stays
constant here. ``rolled`` alone wraps round: it loses no pixel, and ``rolled(rolled(x, (y, x)), (-y, -x))`` is x to the
bit, as DeepDream needs it.

Pitfalls: a bilinear reading blurs, twice where scale and turn follow one another; that also robs the finest
frequencies of their gradient. On a GPU the gradient of the bilinear reading is summed in no fixed order: two runs agree
to rounding, on a CPU to the bit.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from convscope.errors import ConvscopeError

Transform = Callable[[Tensor, torch.Generator], Tensor]

# standard_transforms in lucid/optvis/transform.py
LUCID_FACTORS = tuple(1 + (i - 5) / 50 for i in range(11))
LUCID_DEGREES = (*range(-10, 11), 0, 0, 0, 0, 0)


# ---- the moves ----


def padded(image: Float[Tensor, "b c h w"], px: int) -> Float[Tensor, "b c h2 w2"]:
    """``px`` pixels more on each of the four sides, mirrored at the outermost pixel; ``px`` may exceed the size."""
    _check_pixels(px, "pad")
    for axis in (2, 3):
        image = _mirrored(image, px, axis)
    return image


def _mirrored(image: Tensor, px: int, axis: int) -> Tensor:
    # slices and flips: their gradient, unlike that of an index, is summed in a fixed order on every device
    while px > 0:
        side = image.shape[axis]
        if side == 1:  # the mirror of a single pixel
            return torch.cat([image] * (2 * px + 1), axis)
        reach = min(px, side - 1)
        before = image.narrow(axis, 1, reach).flip(axis)
        after = image.narrow(axis, side - 1 - reach, reach).flip(axis)
        image = torch.cat([before, image, after], axis)
        px -= reach
    return image


def shifted(image: Float[Tensor, "b c h w"], shift: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """Moved down and right by ``shift`` = (y, x) whole pixels; the mirror fills in. Size kept, no blur."""
    (y, x), (height, width) = shift, image.shape[2:]
    reach = max(abs(y), abs(x))
    return padded(image, reach)[:, :, reach - y : reach - y + height, reach - x : reach - x + width]


def rolled(image: Float[Tensor, "b c h w"], shift: tuple[int, int]) -> Float[Tensor, "b c h w"]:
    """Moved down and right by ``shift`` = (y, x), what leaves at one edge comes in at the other; (-y, -x) undoes it."""
    return torch.roll(image, shift, (2, 3))


def scaled(image: Float[Tensor, "b c h w"], factor: int | float) -> Float[Tensor, "b c h w"]:
    """Enlarged ``factor`` times about the middle, bilinear; size kept: cropped above 1, mirrored below."""
    _check_factor(factor)
    return image if factor == 1 else _resampled(image, (1 / factor, 0.0))


def rotated(image: Float[Tensor, "b c h w"], degrees: int | float) -> Float[Tensor, "b c h w"]:
    """Turned about the middle, counter-clockwise as ``torch.rot90``, bilinear; size kept, corners mirrored."""
    _check_degrees(degrees)
    turn = math.radians(degrees)
    return image if degrees == 0 else _resampled(image, (math.cos(turn), math.sin(turn)))


def _resampled(image: Tensor, turn: tuple[float, float]) -> Tensor:
    """The image read where (y, x), from the middle, is (cos y + sin x, cos x - sin y), times a scale."""
    cos, sin = turn
    height, width = image.shape[2:]
    # coordinates of half precision would be whole pixels off
    values = image if image.dtype == torch.float64 else image.float()
    middle = ((height - 1) / 2, (width - 1) / 2)
    y, x = (torch.arange(s, device=image.device).to(values) - m for s, m in zip((height, width), middle, strict=True))
    y, x = torch.meshgrid(y, x, indexing="ij")
    # -1 and 1 are the centres of the outermost pixels (align_corners): there lies the mirror
    across, down = (cos * x - sin * y) / max(middle[1], 0.5), (cos * y + sin * x) / max(middle[0], 0.5)
    grid = torch.stack([across, down], -1).expand(len(image), -1, -1, -1)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="reflection", align_corners=True).to(image)


# ---- drawn once a step ----


def pad(px: int) -> Transform:
    """``padded`` by the same ``px`` every time; draws nothing. The picture grows by ``2 px`` in height and width."""
    _check_pixels(px, "pad")

    def transform(image: Tensor, generator: torch.Generator) -> Tensor:  # noqa: ARG001
        return padded(image, px)

    return transform


def jitter(px: int) -> Transform:
    """Shifts by -px to px whole pixels an axis, each as likely; edges mirrored, size kept."""
    _check_pixels(px, "jitter")

    def transform(image: Tensor, generator: torch.Generator) -> Tensor:
        return shifted(image, draw_shift(px, generator))

    return transform


def scale(low: int | float, high: int | float) -> Transform:
    """``scaled`` by a factor drawn uniformly between ``low`` and ``high``; size kept."""
    _check_factor(low)
    _check_factor(high)
    if low > high:
        raise ConvscopeError(f"scale({low}, {high}): the smaller factor comes first")

    def transform(image: Tensor, generator: torch.Generator) -> Tensor:
        return scaled(image, _between(low, high, generator))

    return transform


def scale_one_of(factors: Sequence[int | float]) -> Transform:
    """``scaled`` by one of ``factors``, each as likely as the others (one given twice: twice as likely)."""
    if not factors:
        raise ConvscopeError("scale_one_of: no factor to draw from")
    for factor in factors:
        _check_factor(factor)

    def transform(image: Tensor, generator: torch.Generator) -> Tensor:
        return scaled(image, factors[_whole(0, len(factors) - 1, generator)])

    return transform


def rotate(degrees: int | float) -> Transform:
    """``rotated`` by an angle drawn uniformly between -degrees and degrees; size kept."""
    _check_degrees(degrees)
    if degrees < 0:
        raise ConvscopeError(f"rotate({degrees}): give the largest turn to either side, 0 or more degrees")

    def transform(image: Tensor, generator: torch.Generator) -> Tensor:
        return rotated(image, _between(-degrees, degrees, generator))

    return transform


def rotate_one_of(degrees: Sequence[int | float]) -> Transform:
    """``rotated`` by one of ``degrees``, each as likely as the others (one given twice: twice as likely)."""
    if not degrees:
        raise ConvscopeError("rotate_one_of: no angle to draw from")
    for angle in degrees:
        _check_degrees(angle)

    def transform(image: Tensor, generator: torch.Generator) -> Tensor:
        return rotated(image, degrees[_whole(0, len(degrees) - 1, generator)])

    return transform


def noisy(sd: int | float) -> Transform:
    """Adds noise of N(0, sd^2), drawn pixel by pixel and the same for every image of the batch (Fel et al. 2023)."""
    if not (math.isfinite(sd) and sd >= 0):
        raise ConvscopeError(f"noise of {sd}: a standard deviation is a number from 0 on")

    def transform(image: Tensor, generator: torch.Generator) -> Tensor:
        made = torch.randn(image.shape[1:], generator=generator, device=generator.device, dtype=torch.float32)
        return image + sd * made.to(image)

    return transform


def compose(*transforms: Transform) -> Transform:
    """One after the other, from left to right, from the one generator; none at all is the identity."""

    def transform(image: Tensor, generator: torch.Generator) -> Tensor:
        for each in transforms:
            image = each(image, generator)
        return image

    return transform


def lucid_like() -> Transform:
    """The draws of lucid's standard transforms: jitter 8 (4 to either side), scale, turn, jitter 4; size kept.

    lucid pads by 12 grey pixels first, for the moves to have something at the edge, and lets the size wander; here
    the mirror is there without it.
    """
    return compose(jitter(4), scale_one_of(LUCID_FACTORS), rotate_one_of(LUCID_DEGREES), jitter(2))


def draw_shift(px: int, generator: torch.Generator) -> tuple[int, int]:
    """(y, x), each of -px to px with the same chance: for ``shifted``, or ``rolled`` and its undoing."""
    _check_pixels(px, "jitter")
    return _whole(-px, px, generator), _whole(-px, px, generator)


def _whole(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (1,), generator=generator, device=generator.device))


def _between(low: int | float, high: int | float, generator: torch.Generator) -> float:
    share = float(torch.rand(1, generator=generator, device=generator.device, dtype=torch.float32))
    return low + (high - low) * share


# ---- bounds ----


def _check_pixels(px: object, what: str) -> None:
    if not isinstance(px, int) or isinstance(px, bool) or px < 0:
        raise ConvscopeError(f"{what} of {px!r}: give a whole number of pixels, 0 or more")


def _check_factor(factor: int | float) -> None:
    if not (math.isfinite(factor) and factor > 0):
        raise ConvscopeError(
            f"a scale of {factor}: give a finite factor above 0 (1 keeps the picture, 1.1 enlarges it)"
        )


def _check_degrees(degrees: int | float) -> None:
    if not math.isfinite(degrees):
        raise ConvscopeError(f"a turn of {degrees}: give a finite number of degrees")
