"""From a map's raw values to places on a colour bar: the only step in which values are scaled, and never silently.

A map without a sign runs from 0 to its largest value m, a signed one from -m to m with 0 in the middle; neither is
moved so that its smallest value becomes 0 (a min-max stretch shows a flat map as a strong one). Hence

    position(v) = v / m   or   (v + m) / 2m,      strength(v) = abs(v) / m,

and a zero map, m = 0, has strength 0 everywhere. Maps that are compared share the m of them all.

Pixel gradients have heavy tails: one pixel in a thousand may be ten times the next. Only on request is m the given
percentile of abs(v); then the scale says so, its colour bar prints it, and what lies beyond is drawn as the end colour.
Where that percentile is 0 although the map is not (a map of few non-zero pixels), it is not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from convscope.errors import ConvscopeError

CLIP_PERCENTILE = 99.5  # our choice for gradients and for many maps on one scale; Captum's viewer clips at 98


@dataclass(frozen=True)
class Scale:
    """The values at the two ends of a colour bar, in the map's own unit.

    ``signed``: runs from -high to high, and 0 is its middle; else from ``low``, usually 0. ``percentile``: what
    ``high`` was taken at where it is not the maximum; values beyond it are then drawn as the end of the bar.
    """

    low: float
    high: float
    signed: bool = False
    percentile: float | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low <= self.high):
            raise ConvscopeError(f"a scale runs from a finite number up, not from {self.low} to {self.high}")
        if self.signed and self.low != -self.high:
            raise ConvscopeError(f"a signed scale is centred on 0, not on {self.low} to {self.high}")

    @property
    def is_empty(self) -> bool:
        """Of a map that is one value throughout: zero, unless the scale was made by hand."""
        return self.low == self.high

    def position(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Where ``values`` lie on the bar, 0 to 1.

        Raises :class:`ConvscopeError` for values that it does not hold: not finite, or beyond an end that the bar
        does not call clipped.
        """
        values = _finite(values)
        self._check_range(values)
        if self.is_empty:
            return np.full(values.shape, 0.5 if self.signed else 0.0)
        return np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)

    def strength(self, values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """How far ``values`` are from nothing, 0 to 1: from the middle of a signed scale, else from its low end."""
        position = self.position(values)
        return np.abs(2 * position - 1) if self.signed else position

    def _check_range(self, values: Float[np.ndarray, "..."]) -> None:
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        rounding = 1e-6 * (self.high - self.low)
        clipped_above, clipped_below = self.percentile is not None, self.percentile is not None and self.signed
        if (low < self.low - rounding and not clipped_below) or (high > self.high + rounding and not clipped_above):
            raise ConvscopeError(
                f"values from {low:.4g} to {high:.4g} leave the scale from {self.low:.4g} to {self.high:.4g}; "
                "make it with scale_of() of all maps that share it"
            )


def scale_of(
    maps: np.ndarray | Sequence[np.ndarray], *, signed: bool | None = None, percentile: float | None = None
) -> Scale:
    """The scale that all ``maps``, of any shapes, share.

    ``signed=None``: signed where any value is below 0. ``percentile``: of the absolute values of them all, 0 to 100.
    Raises :class:`ConvscopeError` for no maps, values that are not finite, and ``signed=False`` with negative values.
    """
    maps = [maps] if isinstance(maps, np.ndarray) else list(maps)
    values = [_finite(each).ravel() for each in maps]
    if not sum(each.size for each in values):
        raise ConvscopeError("no map to scale: give at least one value")
    if percentile is not None and not 0 < percentile <= 100:
        raise ConvscopeError(f"a percentile lies between 0 and 100, not at {percentile}")
    lowest = min(float(each.min()) for each in values if each.size)
    if signed is False and lowest < 0:
        raise ConvscopeError(f"the map has values down to {lowest:.4g}: draw it on a signed scale, or rectify it first")
    signed = lowest < 0 if signed is None else signed
    strength = np.abs(np.concatenate(values))
    high = float(strength.max())
    clip = high if percentile is None else float(np.percentile(strength, percentile))
    if percentile is None or clip in (0.0, high):
        return Scale(-high if signed else 0.0, high, signed)
    return Scale(-clip if signed else 0.0, clip, signed, percentile)


def upsample(values: Float[np.ndarray, "h w"], size: tuple[int, int]) -> Float[np.ndarray, "H W"]:
    """A map on ``size`` = (H, W) pixels: bilinear, ``align_corners=False``, edges repeated.

    Pixel centres lie at half numbers, so output pixel i reads the map at ``(i + 1/2) h / H - 1/2``: as Pillow and
    OpenCV enlarge. (Aligned corners would move the peak of a 7 x 7 map by up to 10 pixels at 224.) No antialiasing.
    """
    values = np.asarray(values)
    if not values.size or min(size) < 1:
        raise ConvscopeError(f"a map of shape {values.shape} has no pixels to put on {size[0]} x {size[1]}")
    top, bottom, down = _neighbours(values.shape[0], size[0])
    left, right, across = _neighbours(values.shape[1], size[1])
    rows = values[top] * (1 - down)[:, None] + values[bottom] * down[:, None]
    return (rows[:, left] * (1 - across) + rows[:, right] * across).astype(values.dtype)


def _neighbours(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every output pixel of an axis the input pixels before and after it, and the weight of the latter."""
    place = np.maximum((np.arange(outputs) + 0.5) * (inputs / outputs) - 0.5, 0.0)
    before = np.minimum(place.astype(np.intp), inputs - 1)
    return before, np.minimum(before + 1, inputs - 1), place - before


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if bad := values.size - int(np.isfinite(values).sum()):
        raise ConvscopeError(f"{bad} of the map's {values.size} values are not finite (NaN or infinite)")
    return values
