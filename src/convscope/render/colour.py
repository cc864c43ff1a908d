"""From places on a colour bar to colours.

Viridis, cividis and magma grow evenly in lightness, so that a step of the value is a step to the eye (van der Walt &
Smith 2015; cividis also to the colour-blind: Nunez et al. 2018). A signed map is drawn from blue over white to red with
white at 0. Jet invents borders where the value has none: it is here for comparison with older figures, by name only.
"""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps

from convscope.errors import ConvscopeError, nearest
from convscope.render.scale import Scale

COLOUR_MAPS = {  # ours: matplotlib's, and the part of it that is used
    "viridis": ("viridis", 0.0, 1.0),
    "cividis": ("cividis", 0.0, 1.0),
    "magma": ("magma", 0.0, 1.0),
    "diverging": ("RdBu_r", 0.1, 0.9),  # its last tenths are nearly black, over a photo too
    "grey": ("gray", 0.0, 1.0),
    "jet": ("jet", 0.0, 1.0),
}


def default_colour_map(scale: Scale) -> str:
    """``"diverging"`` for a signed scale, ``"viridis"`` for any other."""
    return "diverging" if scale.signed else "viridis"


def colourise(
    values: Float[np.ndarray, "h w"], scale: Scale, colour_map: str | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """A map as RGB, one colour a value; ``colour_map=None`` is :func:`default_colour_map`'s.

    Raises :class:`ConvscopeError` for an unknown colour map, and for ``"diverging"`` on a scale that has no middle.
    """
    name = default_colour_map(scale) if colour_map is None else colour_map
    if name not in COLOUR_MAPS:
        raise ConvscopeError(f"no colour map {name!r}{nearest(name, COLOUR_MAPS)} (there are {', '.join(COLOUR_MAPS)})")
    if name == "diverging" and not scale.signed:
        raise ConvscopeError("the diverging colour map is centred on 0: give a signed scale, or another colour map")
    source, start, end = COLOUR_MAPS[name]
    return colormaps[source](start + (end - start) * scale.position(values), bytes=True)[..., :3]


def gradient_picture(gradient: Float[np.ndarray, "c h w"], scale: Scale) -> UInt8[np.ndarray, "h w 3"]:
    """Signed pixel gradients as they are usually shown: each channel ``1/2 + g / 2m`` round grey, m = ``scale.high``.

    Of one channel a grey picture. Its colour bar is ``"grey"`` on the same scale. Raises :class:`ConvscopeError` for
    other channel counts and for a scale without a sign.
    """
    if gradient.shape[0] not in (1, 3):
        raise ConvscopeError(f"a gradient of {gradient.shape[0]} channels has no colours; reduce it to one, or draw 3")
    if not scale.signed:
        raise ConvscopeError("a gradient has a sign: give scale_of(gradient, signed=True)")
    return channels_picture(gradient, scale)


def channels_picture(values: Float[np.ndarray, "c h w"], scale: Scale) -> UInt8[np.ndarray, "h w 3"]:
    """Three channels as red, green and blue, one as grey, each from 0 to 255 along the scale: filters on pixels.

    Raises :class:`ConvscopeError` for other channel counts.
    """
    if values.shape[0] not in (1, 3):
        raise ConvscopeError(f"{values.shape[0]} channels have no colours; draw 1 or 3")
    picture = np.rint(255 * scale.position(values)).astype(np.uint8).transpose(1, 2, 0)
    return np.repeat(picture, 3 // picture.shape[2], axis=2)
