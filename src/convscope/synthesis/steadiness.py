"""Whether a picture is what it is taken for, or only so at one exact position of the pixel grid.

A picture made by ascent can be a pattern that drives the network at its very place and nowhere beside it. ``steady``
gives the pictures to look at once more: as it is, moved, and turned. Pictures that keep their class in all of them can
be compared by the least of the three probabilities.

Edges as in ``transforms.py``: the mirror fills in.
"""

from jaxtyping import Float
from torch import Tensor

from convscope.synthesis.transforms import rotated, shifted

SHIFT_SHARE = 1 / 24  # of the shorter side: 8 px at 192 px
TURN_DEGREES = 5.0


def steady(
    image: Float[Tensor, "b c h w"], *, degrees: int | float = TURN_DEGREES
) -> dict[str, Float[Tensor, "b c h w"]]:
    """``{"as it is": ..., "shifted": ..., "turned": ...}``: down and right by a 24th of the shorter side; by 5 degrees.

    The shift is a whole number of pixels, 1 at least; the turn is counter-clockwise.

    Raises:
        ConvscopeError: a turn that is not finite.
    """
    px = shift_px(image.shape[2], image.shape[3])
    return {"as it is": image, "shifted": shifted(image, (px, px)), "turned": rotated(image, degrees)}


def shift_px(h: int, w: int) -> int:
    """How far ``steady`` shifts a picture of h x w."""
    return max(1, round(min(h, w) * SHIFT_SHARE))
