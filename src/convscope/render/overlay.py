"""Heat over a photo: as opaque as it is strong, so that the photo shows wherever the map says nothing.

    pixel = (1 - a) photo' + a colour(v),     a = opacity * strength(v),

on the photo's own pixels, the map upsampled onto exactly these. A constant opacity would tint the whole photo with the
colour of "nothing". photo' is the photo with most of its colour taken out, so that colour is read as heat.

The diverging colours fade to white by themselves; over a photo they would fade twice, and weak evidence would be lost:
there they start at 40 % of their way from white. An overlay's colour bar is made by the same function, over white.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.colour import colourise, default_colour_map
from convscope.render.scale import Scale, upsample

OPACITY = 0.85
GREYED = 0.6
_DIVERGING_START = 0.4


def overlay(
    photo: Image.Image,
    values: Float[np.ndarray, "h w"],
    scale: Scale,
    *,
    opacity: float = OPACITY,
    colour_map: str | None = None,
    greyed: float = GREYED,
) -> Image.Image:
    """The map over the photo at the photo's size.

    ``photo``: the part that the network saw (``Preprocess.view``), RGB; ``opacity``: of the strongest heat, 0 to 1;
    ``greyed``: the share of the photo's colour that is taken out, 0 to 1. Raises :class:`ConvscopeError` for numbers
    outside these and for values that the scale does not hold.
    """
    if not (0 <= opacity <= 1 and 0 <= greyed <= 1):
        raise ConvscopeError(f"opacity and greyed lie between 0 and 1, not at {opacity} and {greyed}")
    photo = photo.convert("RGB")
    muted = Image.blend(photo, photo.convert("L").convert("RGB"), greyed)
    heat = upsample(values, (photo.height, photo.width))
    return Image.fromarray(heat_over(np.asarray(muted), heat, scale, opacity, colour_map))


def heat_over(
    ground: UInt8[np.ndarray, "h w 3"],
    values: Float[np.ndarray, "h w"],
    scale: Scale,
    opacity: float,
    colour_map: str | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """``values`` over ``ground``, pixel on pixel, each as opaque as ``opacity * strength``."""
    share = (opacity * scale.strength(values))[..., None]
    colours = colourise(_away_from_white(values, scale, colour_map), scale, colour_map)
    return np.rint((1 - share) * ground + share * colours).astype(np.uint8)


def _away_from_white(
    values: Float[np.ndarray, "h w"], scale: Scale, colour_map: str | None
) -> Float[np.ndarray, "h w"]:
    if (colour_map or default_colour_map(scale)) != "diverging":
        return values
    return np.sign(values) * (_DIVERGING_START * scale.high + (1 - _DIVERGING_START) * np.abs(values))
