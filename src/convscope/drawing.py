"""How an explanation becomes a picture: which scale, which colours, over the photo or beside it.

Gradients with channels are drawn as colours round grey, their maps without channels alone (their pixels are too
fine to lie on a photo), all others as heat on the part of the photo that the network saw. Gradients are clipped at
a percentile because of their heavy tails, and the colour bar says so. Maps begin at 0; RISE's, which is a mean score
everywhere, at its lowest value, and the colour bar says that too.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.attribution.method import Look
from convscope.attribution.registry import METHODS
from convscope.attribution.sliding_occlusion import squares
from convscope.errors import ConvscopeError
from convscope.render.colour import colourise, gradient_picture
from convscope.render.colour_bar import ColourBar
from convscope.render.overlay import OPACITY, overlay
from convscope.render.scale import CLIP_PERCENTILE, Scale, scale_of
from convscope.render.tile import Tile


def picture_of(values: Float[Tensor, "c h w"]) -> Image.Image:
    """A made picture, in [0, 1], as RGB pixels: three channels are colours, one is grey.

    Of any other number nobody knows what they show: they stand side by side, each in grey, a thin white line between.

    Raises:
        ConvscopeError: values that are not finite, or not in [0, 1].
    """
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise ConvscopeError(f"values from {low:.4g} to {high:.4g}: a picture's are from 0 to 1")
    levels = (255 * values.detach().cpu().double()).round().to(torch.uint8).numpy()
    if len(levels) == 3:
        return Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))
    height, width = levels.shape[1:]
    gap = max(1, width // 32)
    beside = np.full((height, len(levels) * (width + gap) - gap), 255, np.uint8)
    for at, channel in enumerate(levels):
        beside[:, at * (width + gap) : at * (width + gap) + width] = channel
    return Image.fromarray(beside).convert("RGB")


def scale_for(method: str, maps: list[Tensor]) -> Scale:
    """The scale of one map, or the one that several share."""
    found = METHODS[method]
    arrays = [_drawn_values(values, found.look) for values in maps]
    percentile = CLIP_PERCENTILE if found.look in ("gradient", "grain") else None
    signed = True if found.look == "gradient" or (found.signed and _any_negative(arrays)) else None
    scale = scale_of(arrays, signed=signed, percentile=percentile)
    lowest = min(float(array.min()) for array in arrays)
    return replace(scale, low=lowest) if found.floor == "lowest" and 0 < lowest < scale.high else scale


def draw_tile(
    method: str, values: Tensor, photo: Image.Image, *, scale: Scale, caption: str, note: str, warning: str = ""
) -> Tile:
    """One map of a method as a tile with its colour bar."""
    look = METHODS[method].look
    array = _drawn_values(values, look)
    if look == "gradient" and array.ndim == 3:
        return Tile(gradient_picture(array, scale), caption, note, ColourBar(scale, "grey"), warning, pixels=True)
    if look in ("gradient", "grain"):
        return Tile(
            colourise(array, scale, _grain_colours(scale)), caption, note, _grain_bar(scale), warning, pixels=True
        )
    return Tile(overlay(photo, array, scale), caption, note, ColourBar(scale, opacity=OPACITY), warning)


def on_the_photo(method: str, values: Tensor, options: Mapping[str, Any], input_size: tuple[int, int]) -> Tensor:
    """The values as they lie on the network's input of (H, W) pixels.

    A cell of an occlusion, one a position, lies at the middle of its square, with linear steps between: cells that are
    merely stretched over the photo miss their squares by up to half of one at the edges.
    """
    if method != "occlusion" or options.get("reading") not in ("drop", "score"):
        return values
    at = squares(*input_size, options["size"], options["stride"])
    middles = (at.boxes[:, :2] + at.boxes[:, 2:]).div(2).reshape(at.rows, at.columns, 2).numpy()
    ys, xs = (np.arange(side) + 0.5 for side in input_size)
    down = [np.interp(ys, middles[:, 0, 0], column) for column in values.float().numpy().T]
    return torch.from_numpy(np.stack([np.interp(xs, middles[0, :, 1], row) for row in np.transpose(down)])).float()


def zero_reason(method: str, values: Tensor) -> str:
    """Why a map is zero everywhere; empty where it is not."""
    return f"zero everywhere: {METHODS[method].zero}" if not bool(values.any()) else ""


def _grain_colours(scale: Scale) -> str:
    return "diverging" if scale.signed else "magma"


def _grain_bar(scale: Scale) -> ColourBar:
    return ColourBar(scale, _grain_colours(scale))


def _drawn_values(values: Tensor, look: Look) -> np.ndarray:
    """Float array; a gradient of neither one nor three channels is summed over them, and grain of any count is."""
    if values.ndim == 3 and (look == "grain" or values.shape[0] not in (1, 3)):
        values = values.sum(0)
    return values.float().numpy()


def _any_negative(arrays: list[np.ndarray]) -> bool:
    return any(bool((array < 0).any()) for array in arrays)
