"""Small maps in a colour of one's choice: white where the map is 0, the tint where it is strongest, grey below 0.

The strength of a cell is its value, the tint says something else, such as the map's rank among others: two numbers in
one picture that do not mix, since a tint is a hue and the strength its depth. Pixels stay visible.
"""

import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_rgb
from PIL import Image

from convscope.errors import ConvscopeError

BELOW = "#6b7280"  # of values below 0


def tinted_map(values: Float[np.ndarray, "h w"], tint: str, highest: float) -> Image.Image:
    """A pixel a value; ``highest`` is the absolute value that the full tint stands for, 0 leaves all white.

    Raises :class:`ConvscopeError` for values that are not finite, or beyond ``highest``.
    """
    values = np.asarray(values, float)
    if not np.isfinite(values).all():
        raise ConvscopeError("a map with values that are not finite cannot be tinted")
    if np.abs(values).max(initial=0.0) > highest * (1 + 1e-6):
        raise ConvscopeError(
            f"values to {np.abs(values).max():.4g} lie beyond {highest:.4g}, the strongest of the tint"
        )
    strength = np.clip(np.abs(values) / highest, 0, 1) if highest else np.zeros_like(values)
    colour = np.where((values < 0)[..., None], to_rgb(BELOW), to_rgb(tint))
    mixed = 1 - strength[..., None] * (1 - colour)
    return Image.fromarray(np.rint(255 * mixed).astype(np.uint8))
