"""One inversion as a result: the picture, its error beside that of a grey picture, and what it does not show."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from convscope.drawing import picture_of
from convscope.render.sheet import sheet
from convscope.render.tile import Tile
from convscope.render.typography import number_text
from convscope.results import Shown, fitted
from convscope.stamps import Stamp
from convscope.synthesis.inversion import Inverting

CLAIM = (
    "What the layer still knows of the photo: a picture that gives it the same features, as nearly as the error says."
)
LIMITS = (
    "What the layer has forgotten is filled in by the regularisers, smoothly, and by chance: such parts are not the "
    "layer's. Where the error is low and the picture strange, the layer does not see the difference: the head's few "
    "numbers are met by pictures of all kinds. A high error may also be that of the optimisation. Other weights give "
    "other pictures: compare several."
)
ERROR = "|features − photo's features|² / |photo's features|²"
_FEW_PIXELS = 128  # a picture of fewer a side is drawn with its pixels


@dataclass(frozen=True, eq=False)
class Inversion(Shown):
    """``values (c, h, w)`` in [0, 1], made from ``layer``'s features of ``photo``, which are of ``shape``.

    ``relative_error`` is the squared distance to these features, over their own square; 0: the layer cannot tell the
    picture from the photo. ``grey_error`` is that of the grey picture at the start, which knows nothing.
    """

    values: Float[Tensor, "c h w"] = field(repr=False)
    relative_error: float
    grey_error: float
    layer: str
    shape: tuple[int, ...]
    photo: Image.Image = field(repr=False)
    how: Inverting
    stamp: Stamp = field(repr=False)

    def image(self) -> Image.Image:
        """The inversion alone, in its own pixels."""
        return picture_of(self.values)

    def tile(self, *, caption: str | None = None, note: str | None = None) -> Tile:
        """The inversion as a tile of a sheet, with its error."""
        note = f"error {number_text(self.relative_error)}" if note is None else note
        few = max(self.values.shape[1:]) < _FEW_PIXELS
        return Tile(fitted(self.image()), self.layer if caption is None else caption, note, pixels=few)

    def photo_tile(self) -> Tile:
        """The photo as the network saw it."""
        few = max(self.values.shape[1:]) < _FEW_PIXELS
        size = " x ".join(map(str, self.values.shape[1:]))
        return Tile(fitted(self.photo), "photo", f"{size} pixels", pixels=few)

    def picture(self) -> Image.Image:
        """The photo beside its inversion."""
        return sheet(
            [self.photo_tile(), self.tile(note=self.error_line)],
            title=f"Inverted from {self.layer}",
            subtitle=f"{self.numbers_line} · {how_in_words(self.how)}",
            footer=f"{LIMITS} {self.stamp.line()}",
            tile_width=288,
        )

    @property
    def error_line(self) -> str:
        """``error 0.0123, of grey 0.9``."""
        return f"error {number_text(self.relative_error)}, of a grey picture {number_text(self.grey_error)}"

    @property
    def numbers_line(self) -> str:
        """How many numbers the layer has for how many the picture has."""
        features, pixels = (int(np.prod(shape)) for shape in (self.shape, self.values.shape))
        shape = "" if len(self.shape) < 2 else f" ({' x '.join(map(str, self.shape))})"
        return f"{features:,} numbers{shape} for a picture of {pixels:,}"

    def facts(self) -> Mapping[str, str]:
        """The error, what it is measured by, how the picture was made, and when not to believe it."""
        return {
            "inversion": f"{self.layer}: {self.error_line}",
            "error": ERROR,
            "layer": self.layer,
            "features": self.numbers_line,
            "made": how_in_words(self.how),
            "what it shows": CLAIM,
            "what it does not": LIMITS,
            "source": "Mahendran & Vedaldi 2015, arXiv:1412.0035",
        }

    def as_json(self) -> dict[str, Any]:
        """What ``convscope invert --json`` prints of it."""
        about = {"layer": self.layer, "shape": list(self.shape), "relative_error": self.relative_error}
        about |= {"grey_error": self.grey_error, "size": list(self.values.shape[1:])}
        return about | {k: v for k, v in asdict(self.how).items() if v is not None} | {"seed": self.stamp.seed}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The picture and its two errors."""
        errors = np.array([self.relative_error, self.grey_error])
        return {"values": self.values.numpy(), "errors": errors}


def how_in_words(how: Inverting, *, without_tv: bool = False) -> str:
    """``200 steps on pixels, total variation 0.5 x cell, 6-norm 0.1``."""
    tv = "total variation x cell" if without_tv else f"total variation {how.tv:g} x cell"
    return f"{how.steps} steps on {_IMAGE[how.image]}, {tv}, {how.lp_power:g}-norm {how.lp:g}"


_IMAGE = {"pixels": "pixels", "fourier": "Fourier coefficients"}
