"""Another library's transform as a ``Preprocess``, where it is one: proved on pictures, not believed from its settings.

A ``Preprocess`` is worth having, since maps can then be drawn on the photo itself. timm and Hugging Face describe their
transforms by settings whose meaning changes between classes and releases. So the settings only suggest a
``Preprocess``; it is taken where it gives the transform's own numbers on pictures of noise (the worst case for
resampling), tall and wide, of widths that tell how the start of a crop is rounded. Otherwise the
transform itself is kept, as a bare callable.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from torch import Tensor

from convscope.network.pictures import read_image
from convscope.network.preprocessing import Preprocess

TOLERANCE = 1e-5  # of normalised values: rounding; one level of 255 is 4e-3 and more
# (width, height): smaller and larger than the crop; the widths in a row leave every remainder of 4 around it
_PROBES = ((61, 93), (350, 260), *((width, 61) for width in range(97, 105)))


@dataclass(frozen=True, eq=False)
class ForeignTransform:
    """A transform that no ``Preprocess`` is: photo -> ``(1, c, h, w)``, the photo read by the one policy before."""

    transform: Callable[[Image.Image], Tensor]

    def __call__(self, photo: Image.Image) -> Tensor:
        """The network's input of one photo."""
        return self.transform(read_image(photo).convert("RGB"))


def expressed(
    transform: Callable[[Image.Image], Tensor], suggested: Preprocess | None
) -> Preprocess | ForeignTransform:
    """``suggested`` where it gives what ``transform`` (photo -> ``(1, c, h, w)``) gives, else the transform itself."""
    for each in [] if suggested is None else [suggested, replace(suggested, crop_rounding="down")]:
        if all(_agree(transform, each, size) for size in _PROBES):
            return each
    return ForeignTransform(transform)


def _agree(transform: Callable[[Image.Image], Tensor], suggested: Preprocess, size: tuple[int, int]) -> bool:
    width, height = size
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    theirs, ours = transform(photo), suggested(photo)
    return theirs.shape == ours.shape and bool((theirs - ours).abs().max() <= TOLERANCE)
