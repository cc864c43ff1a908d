"""The same image seen a little differently in every epoch: shifted by a few pixels, and mirrored.

    shifts      by -m .. m pixels down and right, each image by its own; what comes in repeats the border's pixel
    flips       left and right change places, for half of the images; not for writing, in which that changes the class

m is ``SHARE`` of the shorter side. Chosen from a generator that the training seeds anew each epoch.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SHARE = 0.07  # 2 of 28 pixels


def augmented(x: Float[Tensor, "b c h w"], kind: str, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """A batch as it is trained on; ``kind`` is one of ``recipe.AUGMENTATIONS``."""
    if kind == "none":
        return x
    x = shifted(x, max(1, round(SHARE * min(x.shape[2:]))), generator)
    return flipped(x, generator) if kind == "shifts-and-flips" else x


def shifted(x: Float[Tensor, "b c h w"], most_px: int, generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """Each image moved by up to ``most_px`` pixels along both axes."""
    height, width = x.shape[2:]
    padded = F.pad(x, (most_px,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * most_px + 1, (len(x), 2), generator=generator).tolist()
    moved = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, corners, strict=True)]
    return torch.stack(moved)


def flipped(x: Float[Tensor, "b c h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    """About half of the images mirrored."""
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(mirrored.to(x.device)[:, None, None, None], x.flip(3), x)
