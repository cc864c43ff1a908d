"""One error to look at: the photo, the maps of the answered and the expected class on one scale, what lies near it.

The two maps share a scale, or the weaker would look as sure as the stronger. The object's box is dashed on all three
pictures. Photos of few pixels are enlarged before the maps are laid on them, so that these are not drawn in few pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from convscope.answers import seen_by
from convscope.attribution.method import Method
from convscope.audits.answered import Answered, Judged
from convscope.audits.lifting_units import Lifting
from convscope.audits.map_places import Objects, Place, maps_of, place_of
from convscope.audits.nearest_images import Known, NearestImages
from convscope.dataset.image_sources import ImageSource
from convscope.drawing import draw_tile, scale_for, zero_reason
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.render.colour_bar import ColourBar
from convscope.render.regions import dashed_on
from convscope.render.tile import Tile, as_image
from convscope.render.typography import number_text

SIDE = 256  # pixels of a drawn photo's longer side
_NEAR_SIDE = 128
_FAINT = 0.4  # of the scale: what is weaker is hardly seen over a photo, see ``render.overlay``


@dataclass(frozen=True, eq=False)
class Near:
    """An image near an error; ``says``: what its label says of the error: "called", "expected" or ""."""

    name: str
    label: str
    distance: float
    says: str


@dataclass(frozen=True, eq=False)
class ShownError:
    """``label`` is the data's word for it, ``called`` the network's. The places are None where there is no box.

    ``maps``: of the answered and of the expected class; ``empty``: why nothing is seen of one. ``near_photos`` belong
    to the ``Near`` of the same place, None where one cannot be read any more. ``units``: (unit, its part).
    """

    judged: Judged
    label: str
    called: str
    expected: str
    photo: Image.Image = field(repr=False)
    maps: tuple[Image.Image, Image.Image] = field(repr=False)
    empty: tuple[str, str]
    bar: ColourBar
    places: tuple[Place, Place] | None
    near: tuple[Near, ...]
    near_photos: tuple[Image.Image | None, ...] = field(repr=False)
    units: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class Drawer:
    """What is needed to show errors."""

    net: Network
    source: ImageSource
    answers: Answered
    method: Method
    layer: str
    objects: Objects | None
    lifting: Lifting

    def shown(self, one: Judged, near: Sequence[Near], photos: Sequence[Image.Image | None]) -> ShownError:
        """One error. Raises ConvscopeError where its photo cannot be read any more."""
        seen = seen_by(self.net, self.source.read(one.name).image)
        view, targets = sized(seen.view, SIDE), [one.predicted, one.expected]
        maps = maps_of(self.net, torch.cat([seen.x, seen.x]), self.method, targets, self.layer)
        box = self._cells(one, seen.image.size, (view.height, view.width))
        scale = scale_for(self.method.name, list(maps))
        tiles = [draw_tile(self.method.name, values, view, scale=scale, caption="", note="") for values in maps]
        first, second = (_boxed(tile, view, box) for tile in tiles)
        called, expected = (self.net.class_name(each) for each in targets)
        cells = self._cells(one, seen.image.size, (seen.x.shape[2], seen.x.shape[3]))
        first_empty, second_empty = (_unseen(self.method.name, values, scale.high) for values in maps)
        return ShownError(
            judged=one,
            label=self.answers.labels.classes[one.label],
            called=called,
            expected=expected,
            photo=view if box is None else dashed_on(view, box),
            maps=(first, second),
            empty=(first_empty, second_empty),
            bar=tiles[0].bar or ColourBar(scale),
            places=None if cells is None else _places(maps, cells),
            near=tuple(near),
            near_photos=tuple(photos),
            units=self.lifting.strongest(one),
        )

    def _cells(self, one: Judged, size: tuple[int, int], cells: tuple[int, int]) -> Bool[np.ndarray, "h w"] | None:
        try:
            return None if self.objects is None else self.objects.cells(one.name, one.label, size, cells)
        except ConvscopeError:  # a box that leaves the photo was told of in the pass over all
            return None


def nears(known: Known, found: NearestImages, place: int, one: Judged, rights: Sequence[int]) -> list[Near]:
    """What lies near an error, nearest first."""
    made: list[Near] = []
    for number, distance in found.of(place):
        name = known.names[number]
        label = known.label(name)
        classes = known.right(label) if label else ()
        says = "called" if one.predicted in classes else "expected" if set(classes) & set(rights) else ""
        made.append(Near(name, label, distance, says))
    return made


def near_photo(known: Known, number: int) -> Image.Image | None:
    """As a page shows it."""
    try:
        return sized(known.photo(number).convert("RGB"), _NEAR_SIDE)
    except (ConvscopeError, OSError):
        return None


def _unseen(method: str, values: Tensor, high: float) -> str:
    """Why nothing is seen of a map; empty where something is."""
    strongest = float(values.abs().max())
    faint = f"no more than {number_text(strongest)} anywhere" if strongest < _FAINT * high else ""
    return zero_reason(method, values) or faint


def sized(photo: Image.Image, side: int) -> Image.Image:
    """The longer side at ``side`` pixels."""
    share = side / max(photo.size)
    size = max(1, round(share * photo.width)), max(1, round(share * photo.height))
    return photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _boxed(tile: Tile, view: Image.Image, box: Bool[np.ndarray, "h w"] | None) -> Image.Image:
    """A drawn map at the view's size (pixel maps are drawn at the network's own), with the box."""
    assert tile.image is not None
    picture = as_image(tile.image)
    if picture.size != view.size:
        picture = picture.resize(view.size, Image.Resampling.NEAREST)
    return picture if box is None else dashed_on(picture, box)


def _places(maps: Sequence[Any], cells: Bool[np.ndarray, "h w"]) -> tuple[Place, Place]:
    first, second = (place_of(values.numpy(), cells) for values in maps)
    return first, second
