"""What is where in a photo, as the network sees it.

A concept has a name and, in each photo that shows it, a region: boxes from a table (``concept_boxes``) or masks from
picture files (``concept_masks``). The network does not see the photo but a resized crop of it, so regions are read
where the network looks: of a grid of h x w cells over its input, cell (i, j) lies at

    y = y0 + (i + 1/2) / h (y1 - y0),    x = x0 + (j + 1/2) / w (x1 - x0),

(x0, y0, x1, y1) = ``Preprocess.window``, the crop in the photo's own pixels. A cell belongs to a box that its middle
lies in, and has the number of the mask's pixel there; the black bars of a crop that is larger than the photo belong to
nothing.

Pitfall: a photo without any annotation says nothing of what it does not show: it is left out of every sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from convscope.errors import ConvscopeError
from convscope.network.preprocessing import Preprocess


@dataclass(frozen=True, eq=False)
class Grid:
    """The middles of a mask's cells in the photo's own pixels, and the photo's (width, height)."""

    ys: Float[np.ndarray, " h"]
    xs: Float[np.ndarray, " w"]
    photo_size: tuple[int, int]

    @property
    def on_photo(self) -> Bool[np.ndarray, "h w"]:
        """The cells that are not in a black bar."""
        width, height = self.photo_size
        return ((self.ys >= 0) & (self.ys < height))[:, None] & (self.xs >= 0) & (self.xs < width)


@dataclass(frozen=True, eq=False)
class Region:
    """Where one concept, by its number, lies on a grid; ``boxes`` (x0, y0, x1, y1) are its edges in the photo."""

    concept: int
    cells: Bool[np.ndarray, "h w"]
    boxes: tuple[tuple[float, float, float, float], ...] = ()


@runtime_checkable
class Concepts(Protocol):
    """What annotations answer: the names of all concepts, and the regions of one photo."""

    @property
    def names(self) -> Sequence[str]:
        """By number; complete only when every photo was asked for."""
        ...

    @property
    def line(self) -> str:
        """``2,500 boxes of boxes.csv``."""
        ...

    def known(self, image: str) -> bool:
        """Whether anything is said of a photo."""
        ...

    def regions(self, image: str, grid: Grid) -> list[Region]:
        """The concepts of one photo. Raises ConvscopeError for annotations that do not fit it."""
        ...


def grid_of(preprocess: object, photo_size: tuple[int, int], cells: tuple[int, int]) -> Grid:
    """Where the cells (h, w) of a mask over the network's input lie in a photo of (width, height).

    Raises:
        ConvscopeError: a transform of the network's own, which does not say where it looks.
    """
    if not isinstance(preprocess, Preprocess):
        raise ConvscopeError(
            "the network's own transform does not say which part of a photo it takes, so that boxes and masks cannot "
            "be laid on its input; load the network with a Preprocess"
        )
    x0, y0, x1, y1 = preprocess.window(photo_size)
    ys = y0 + (np.arange(cells[0]) + 0.5) / cells[0] * (y1 - y0)
    xs = x0 + (np.arange(cells[1]) + 0.5) / cells[1] * (x1 - x0)
    # a middle that lies on a box's edge must not fall to either side by the rounding of the last bit
    return Grid(ys.round(9), xs.round(9), photo_size)
