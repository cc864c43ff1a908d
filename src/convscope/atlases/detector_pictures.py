"""The photos that excite a detector most, each with the unit's region as it was counted, and its concept's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from PIL import Image

from convscope.answers import seen_by
from convscope.dataset.concepts import Concepts, grid_of
from convscope.dataset.dissecting import UnitRegions
from convscope.dataset.dissection import LayerDissection
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.photo_batches import PhotoBatch, layer_maps
from convscope.network.loading import Network
from convscope.render.regions import region_on
from convscope.render.typography import number_text

_SIDE = 256  # pixels of a drawn photo's longer side
_NAMED = 2  # concepts in a caption


@dataclass(frozen=True, eq=False)
class DetectorPhoto:
    """A photo with its regions drawn; ``caption`` says what it shows, ``value`` how strongly the unit answers."""

    image: str
    picture: Image.Image
    caption: str
    value: float

    @property
    def note(self) -> str:
        """The activation in a few characters."""
        return number_text(self.value)


def detector_photos(
    net: Network, source: ImageSource, concepts: Concepts, table: LayerDissection, units: Sequence[int]
) -> dict[int, tuple[DetectorPhoto, ...]]:
    """For each unit its winners, the largest activation first; every photo is read and run once."""
    wanted: dict[int, list[tuple[int, int]]] = {}  # photo number -> (unit, rank) that show it
    for unit in units:
        for rank, number in enumerate(table.winners.images[unit].tolist()):
            if number >= 0:
                wanted.setdefault(number, []).append((unit, rank))
    regions = UnitRegions(net, {table.layer: table.thresholds})
    found: dict[tuple[int, int], DetectorPhoto] = {}
    for number, name in _named(source, wanted):
        drawn = _Drawn(net, source, concepts, table, regions, number, name)
        found |= {(unit, rank): drawn.photo(unit, rank) for unit, rank in wanted[number]}
    return {unit: tuple(found[key] for key in sorted(found) if key[0] == unit) for unit in units}


def _named(source: ImageSource, numbers: Iterable[int]) -> list[tuple[int, str]]:
    """The ids of some photos, by one walk through all names."""
    wanted = set(numbers)
    return [(number, name) for number, name in enumerate(source.names()) if number in wanted]


class _Drawn:
    """One photo, run once, and what is drawn on it for each unit that it excites."""

    def __init__(
        self,
        net: Network,
        source: ImageSource,
        concepts: Concepts,
        table: LayerDissection,
        regions: UnitRegions,
        number: int,
        name: str,
    ) -> None:
        self.name, self.table, self.regions = name, table, regions
        seen = seen_by(net, source.read(name).image)
        self.view = _sized(seen.view)
        self.cells = self.view.height, self.view.width
        batch = PhotoBatch((number,), (name,), (seen.image.size,), seen.x)
        self.input_size = batch.input_size
        self.maps = layer_maps(net, batch, [table.layer])[table.layer][0]
        self.shown = concepts.regions(name, grid_of(net.preprocess, seen.image.size, self.cells))
        self.names = [concepts.names[region.concept] for region in self.shown]

    def photo(self, unit: int, rank: int) -> DetectorPhoto:
        layer = self.table.layer
        region = self.regions.of_unit(layer, unit, self.maps[unit], self.input_size, self.cells)
        picture = region_on(self.view, region, self._concept(int(self.table.best[unit])))
        more = f" +{len(self.names) - _NAMED}" if len(self.names) > _NAMED else ""
        caption = ", ".join(self.names[:_NAMED]) + more
        return DetectorPhoto(self.name, picture, caption, float(self.table.winners.values[unit, rank]))

    def _concept(self, number: int) -> Bool[np.ndarray, "h w"] | None:
        return next((region.cells for region in self.shown if region.concept == number), None)


def _sized(view: Image.Image) -> Image.Image:
    """At the size at which it is drawn: outlines are then of one width on all photos."""
    share = _SIDE / max(view.size)
    return view.resize(
        (max(1, round(share * view.width)), max(1, round(share * view.height))), Image.Resampling.LANCZOS
    )
