"""Layers' outputs as maps (b, c, h, w), also where a transformer keeps them as tokens or with the channels last.

With H, W the input and p a patch size in whole pixels, the same on both axes:

    maps            (b, c, h, w)     as they are
    channels last   (b, h, w, c)     Swin, inside ConvNeXt: h, w is the input over p, and w, c is not
    tokens          (b, n, c)        n = (H / p)(W / p) + leading tokens, row by row: the grid is H / p x W / p

Leading tokens (class, distillation, registers) come before the patches in every ViT, see nothing of their own of the
image and are dropped: 0, 1, 2 (Touvron et al. 2021, arXiv:2012.12877), or 4, 5, 8, 9 with registers (Darcet et al.
2024, arXiv:2309.16588). The shape must tell: where no patch size fits, or two do, the layer is refused with what was
tried, never guessed at.

Pitfalls: (b, h, w, c) read as maps gives a heat map of channels that looks like one of the picture; tokens with the
class token left in are shifted by a cell. Maps of as many channels as they are wide, (b, 96, 96, 96), cannot be told
from channels last and are taken as (b, c, h, w). Layers inside windowed attention have the windows in the batch axis:
give ``batch`` to have them refused.
"""

import math
from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from convscope.errors import ConvscopeError

LEADING = (0, 1, 2, 4, 5, 8, 9)  # class, distillation and register tokens in front of the patches


def channel_axis(values: Tensor, image_size: tuple[int, int], layer: str) -> int:
    """The axis of a layer's output that holds its channels (units): 1 for maps, the last for tokens.

    Args:
        values: a layer's output.
        image_size: (H, W) of the network's input.
        layer: its name, for the message.

    Raises:
        ConvscopeError: an output that holds no maps.
    """
    if values.ndim == 3:
        _token_grid(values, image_size, layer)
        return 2
    if values.ndim != 4:
        raise ConvscopeError(f"layer {layer!r} gives {tuple(values.shape)}, not maps (b, c, h, w)")
    _, first, second, third = values.shape
    if _fits(second, third, image_size):
        return 1
    if _is_grid(first, second, image_size):
        return 3
    if any(token_grids(second, image_size)):
        raise ConvscopeError(
            f"layer {layer!r} gives {tuple(values.shape)}: tokens split between attention heads, not maps (b, c, h, w)"
        )
    return 1


def as_maps(
    values: Tensor, image_size: tuple[int, int], layer: str, *, batch: int | None = None
) -> Float[Tensor, "b c h w"]:
    """A layer's output, or its gradient, as maps; differentiable, a view where it can be.

    Arguments as above; ``batch`` is the number of images, where an output of another number is to be refused.
    """
    if batch is not None and values.ndim in (3, 4) and len(values) != batch:
        raise ConvscopeError(
            f"layer {layer!r} gives {tuple(values.shape)} for {batch} image(s): its first axis is not one of images "
            "(attention in windows has a window there); name the layer around it"
        )
    axis = channel_axis(values, image_size, layer)
    if values.ndim == 4:
        return values if axis == 1 else values.permute(0, 3, 1, 2)
    leading, h, w = _token_grid(values, image_size, layer)
    return values[:, leading:].transpose(1, 2).unflatten(2, (h, w))


def token_grids(tokens: int, image_size: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Every (leading tokens, h, w) that ``tokens`` can mean on an image of (H, W): more cells than leading ones."""
    common = math.gcd(*image_size)
    for patch in range(1, common + 1):
        if common % patch == 0:
            h, w = image_size[0] // patch, image_size[1] // patch
            if h * w > max(1, tokens - h * w) and tokens - h * w in LEADING:
                yield tokens - h * w, h, w


def _token_grid(values: Tensor, image_size: tuple[int, int], layer: str) -> tuple[int, int, int]:
    count, channels = values.shape[1:]
    if channels == 1:  # what averaging over the tokens leaves
        raise ConvscopeError(f"layer {layer!r} gives {tuple(values.shape)}: one number each, not maps (b, c, h, w)")
    found = list(token_grids(count, image_size))
    if len(found) == 1:
        return found[0]
    height, width = image_size
    shape = f"layer {layer!r} gives {tuple(values.shape)}"
    if found:
        choices = " or ".join(f"{h} x {w} after {leading} leading" for leading, h, w in found)
        raise ConvscopeError(
            f"{shape}: its {count} tokens are {choices} on an input of {height} x {width}; another input size tells"
        )
    if any(token_grids(channels, image_size)):
        raise ConvscopeError(f"{shape}: channels before tokens, neither tokens (b, n, c) nor maps (b, c, h, w)")
    sizes = f"{LEADING[0]}, {', '.join(map(str, LEADING[1:-1]))} or {LEADING[-1]}"
    raise ConvscopeError(
        f"{shape}, not maps (b, c, h, w): {count} tokens, less {sizes} leading ones, are no grid of square patches in "
        f"whole pixels on an input of {height} x {width}"
    )


def _fits(h: int, w: int, image_size: tuple[int, int]) -> bool:
    """True for a map of the image at a whole stride s: what H - s h leaves over is that of W - s w within a cell.

    Padding leaves less than a cell too few; convolutions without any take the same from both axes, half at most.
    """
    height, width = image_size
    if h * width == w * height:
        return True
    for stride in range(1, max(image_size) + 1):
        left_h, left_w = height - stride * h, width - stride * w
        within = -stride < left_h <= stride * h and -stride < left_w <= stride * w
        if within and abs(left_h - left_w) <= stride:
            return True
    return False


def _is_grid(h: int, w: int, image_size: tuple[int, int]) -> bool:
    """True for the image over a whole stride, rounded up or down, on both axes; one cell is no grid."""
    height, width = image_size
    strides = range(1, max(image_size) + 1)
    return h * w > 1 and any(abs(height / s - h) < 1 and abs(width / s - w) < 1 for s in strides)
