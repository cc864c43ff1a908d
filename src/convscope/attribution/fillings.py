"""What stands where the picture is taken away: a covered square of the occlusion, the start of a path of gradients.

0 of the normalised input is the mean colour of the training images, not black. No filling is nothing to a network: a
flat colour is unlike any photo, a blur keeps the large shapes, noise has edges of its own.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from convscope.errors import ConvscopeError

Fill = None | int | float | Sequence[float] | Tensor | Literal["mean", "blur", "noise"]

BLUR_SIGMA_FRACTION = 0.05  # of the image's shorter side: nothing but large shapes of the covered part remains


def filling(
    x: Tensor, fill: Fill, generator: torch.Generator | None = None, *, named: str = "fill"
) -> Float[Tensor, "b c H W"]:
    """What is shown in the place of the images ``x`` (b, c, H, W).

    Args:
        x: the images.
        fill: None or ``"mean"`` is 0; a number or one a channel; an image ``(1 or b, c, H, W)``; ``"blur"`` of the
            images themselves; ``"noise"``, standard normal.
        generator: of the noise.
        named: what the caller calls it, for errors.

    Raises:
        ConvscopeError: another word, or values of a shape that does not fit.
    """
    if fill is None:
        return torch.zeros_like(x)
    if isinstance(fill, str):
        if fill == "mean":
            return torch.zeros_like(x)
        if fill == "noise":
            device = generator.device if generator is not None else None  # drawn where the generator lives
            return torch.randn(x.shape, generator=generator, dtype=torch.float32, device=device).to(x)
        if fill == "blur":
            return blur(x, BLUR_SIGMA_FRACTION * min(x.shape[2:]))
        raise ConvscopeError(f"{named}={fill!r} is none of 'mean', 'blur', 'noise', a number, one a channel, an image")
    try:
        values = torch.as_tensor(fill, dtype=x.dtype, device=x.device)
    except (TypeError, ValueError, RuntimeError):
        raise ConvscopeError(f"{named}={fill!r} is no number, one a channel, image or word") from None
    if values.ndim == 0 or (values.ndim == 1 and len(values) in (1, x.shape[1])):
        return values.reshape(1, -1, 1, 1).expand_as(x)
    if values.ndim == 4 and values.shape[0] in (1, len(x)) and values.shape[1:] == x.shape[1:]:
        return values.expand_as(x)
    raise ConvscopeError(
        f"{named} of shape {tuple(values.shape)} for images {tuple(x.shape)}: one number, one a channel, or images"
    )


def blur(x: Float[Tensor, "b c H W"], sigma_px: float) -> Float[Tensor, "b c H W"]:
    """Gaussian blur, edges repeated."""
    radius = max(1, math.ceil(3 * sigma_px))
    offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = (-0.5 * (offsets / sigma_px) ** 2).exp()
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1)
    x = F.pad(x, (radius,) * 4, mode="replicate")
    x = F.conv2d(x, kernel[:, None, :, None], groups=x.shape[1])
    return F.conv2d(x, kernel[:, None, None, :], groups=x.shape[1])
