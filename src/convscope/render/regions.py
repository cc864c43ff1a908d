"""A region of a photo: outlined, with the rest darkened, and a second one that it is held against.

The region keeps its colours, which is what one wants to look at; its outline is yellow with a dark line outside, to be
seen on any photo. The other region, drawn by hand or by another program, has a dashed outline in white and black, so
that the two are never taken for each other.
"""

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from convscope.errors import ConvscopeError

OUTLINE, DARK, LIGHT = (255, 214, 10), (25, 25, 25), (255, 255, 255)
_KEPT_OUTSIDE = 0.42  # of the photo's lightness
_DASH_PX = 9


def region_on(
    photo: Image.Image,
    region: Bool[np.ndarray, "h w"],
    other: Bool[np.ndarray, "h w"] | None = None,
    *,
    width_px: int = 2,
) -> Image.Image:
    """The photo with ``region`` outlined and ``other`` dashed; all darkened where the region is empty.

    Raises:
        ConvscopeError: a region of another size than the photo.
    """
    _check_size(photo, region)
    pixels = np.asarray(photo.convert("RGB")).astype(np.float32)
    pixels[~region] *= _KEPT_OUTSIDE
    if other is not None:
        _dash(pixels, other, width_px)
    pixels[_grown(region, max(1, width_px // 2)) & ~region] = DARK
    pixels[_border(region, width_px)] = OUTLINE
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def dashed_on(photo: Image.Image, region: Bool[np.ndarray, "h w"], *, width_px: int = 2) -> Image.Image:
    """The photo with ``region`` dashed and nothing else changed; raises as ``region_on``."""
    _check_size(photo, region)
    pixels = np.asarray(photo.convert("RGB")).astype(np.float32)
    _dash(pixels, region, width_px)
    return Image.fromarray(pixels.astype(np.uint8))


def _check_size(photo: Image.Image, region: Bool[np.ndarray, "h w"]) -> None:
    if region.shape != (photo.height, photo.width):
        raise ConvscopeError(
            f"a region of {region.shape[1]} x {region.shape[0]} pixels does not lie on a photo of "
            f"{photo.width} x {photo.height}"
        )


def _dash(pixels: Float[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"], width_px: int) -> None:
    """Written into ``pixels``."""
    down, across = np.indices(region.shape)
    dash, border = (down + 2 * across) // _DASH_PX % 2 == 0, _border(region, width_px)
    pixels[border & dash], pixels[border & ~dash] = LIGHT, DARK


def _border(region: Bool[np.ndarray, "h w"], width_px: int) -> Bool[np.ndarray, "h w"]:
    """Its outermost pixels; what lies beyond the picture counts as outside, so that every outline closes."""
    h, w = region.shape
    outside = _grown(np.pad(~region, width_px, constant_values=True), width_px)
    return region & outside[width_px : width_px + h, width_px : width_px + w]


def _grown(region: Bool[np.ndarray, "h w"], by: int) -> Bool[np.ndarray, "h w"]:
    """With all pixels that are at most ``by`` steps away, in any of the eight directions."""
    h, w = region.shape
    for _ in range(by):
        padded = np.pad(region, 1)
        region = np.logical_or.reduce([padded[y : y + h, x : x + w] for y in range(3) for x in range(3)])
    return region
