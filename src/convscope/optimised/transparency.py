"""Pictures with an opacity: what a network is shown of them, and what people are."""

import torch
from jaxtyping import Float
from torch import Tensor

LIGHT, DARK = 1.0, 0.87
SQUARES = 20  # along the shorter side


def over_grey(image: Float[Tensor, "b c h w"], alpha: Float[Tensor, "b 1 h w"] | None) -> Float[Tensor, "b c h w"]:
    """On mid-grey, which says nothing: for a network."""
    return image if alpha is None else alpha * image + (1 - alpha) * 0.5


def over_squares(image: Float[Tensor, "b c h w"], alpha: Float[Tensor, "b 1 h w"] | None) -> Float[Tensor, "b c h w"]:
    """On light squares, which show where there is nothing: for people."""
    return image if alpha is None else alpha * image + (1 - alpha) * squares(image)


def squares(like: Tensor) -> Float[Tensor, "h w"]:
    """White and grey squares, as large as the pictures ``like``, the top left one white."""
    side = max(1, min(like.shape[-2:]) // SQUARES)
    down, across = (torch.arange(length, device=like.device) // side for length in like.shape[-2:])
    return torch.where((down[:, None] + across) % 2 == 0, LIGHT, DARK).to(like)
