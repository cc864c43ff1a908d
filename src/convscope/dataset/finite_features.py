"""What of a table of features has a place in an embedding: images and units without NaN and infinite numbers.

An image has no finite feature of a unit where its whole map is NaN or infinite. A unit without a number on most images
that have any (it divides by zero, it overflows) is left out first; else it would take all of these with it. Then an
image is, that lacks a number of a unit that is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from convscope.errors import ConvscopeError

NO_NUMBER = "NaN or infinite all over its map"
_MOST_NAMED = 8


@dataclass(frozen=True, eq=False)
class FiniteFeatures:
    """``features (n, u)`` of the images at ``places`` of those given; ``left_out`` image -> why, and units' numbers."""

    features: Float[np.ndarray, "n u"]
    places: tuple[int, ...]
    left_out: Mapping[str, str]
    units_left_out: tuple[int, ...]

    def note(self, layer: str) -> str:
        """Which units were left out, and why; empty where none was."""
        if not self.units_left_out:
            return ""
        named = ", ".join(f"{layer}:{unit}" for unit in self.units_left_out[:_MOST_NAMED])
        more = len(self.units_left_out) - _MOST_NAMED
        return f"left out, {NO_NUMBER} on most images: {named}" + (f" and {more} more" if more > 0 else "")


def finite_features(layer: str, images: Sequence[str], features: Float[np.ndarray, "n u"]) -> FiniteFeatures:
    """Without what has no place.

    Raises:
        ConvscopeError: nothing is left.
    """
    kept, units = usable(features)
    if len(images) and not kept.any():
        raise ConvscopeError(
            f"nothing of layer {layer!r} can be laid out: on each of the {len(images)} images some or all of its "
            f"{features.shape[1]} units are {NO_NUMBER}"
        )
    left_out = {images[n]: f"a unit of layer {layer!r} is {NO_NUMBER}" for n in np.flatnonzero(~kept).tolist()}
    without = tuple(np.flatnonzero(~units).tolist())
    return FiniteFeatures(features[kept][:, units], tuple(np.flatnonzero(kept).tolist()), left_out, without)


def usable(features: Float[np.ndarray, "n u"]) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " u"]]:
    """Which images and which units are kept."""
    finite = np.isfinite(features)
    images: Bool[np.ndarray, " n"] = np.any(finite, axis=1)
    units = 2 * finite[images].sum(0) > images.sum()
    every: Bool[np.ndarray, " n"] = np.all(finite[:, units], axis=1)
    return images & every, units
