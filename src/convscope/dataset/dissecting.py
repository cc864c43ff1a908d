"""The two passes of a dissection: first the thresholds, over all photos, then the overlaps, over the annotated ones.

What is computed, and why so, stands in ``dissection``. Between the passes nothing is kept but one threshold a unit; the
photos are read and run twice. Every photo's regions are made one photo at a time: a layer's maps at the masks'
resolution are the largest thing in memory, u x 112 x 112 numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from convscope.dataset.concepts import Concepts, Region, grid_of
from convscope.dataset.dissection import LEVEL, LayerDissection, Overlaps, mask_cells
from convscope.dataset.exemplars import Exemplars
from convscope.dataset.field_upsampling import Upsampler
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.photo_batches import FirstTold, PhotoBatch, Told, photo_passes
from convscope.dataset.readings import read_units
from convscope.dataset.upper_quantiles import UpperQuantiles, check_level
from convscope.errors import ConvscopeError
from convscope.network.layer_boxes import layer_views
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from convscope.network.receptive_fields import ReceptiveField


def dissect_layers(
    net: Network,
    source: ImageSource,
    concepts: Concepts,
    layers: Sequence[str],
    *,
    skipped: Told,
    level: float = LEVEL,
    top: int = 6,
    batch: int = 16,
    on_image: Callable[[], None] = lambda: None,
) -> dict[str, LayerDissection]:
    """Each layer's units against the concepts of the photos.

    Args:
        net: from ``load``, with a ``Preprocess``.
        source: the photos.
        concepts: their annotations.
        layers: names; ``relu#2`` for the second call of a module.
        skipped: told (id, reason) of photos that cannot be used, once each.
        level: the share of positions at which a unit is above its threshold.
        top: how many annotated photos of the largest activation are kept a unit.
        batch: photos in one pass.
        on_image: called once a photo and pass.

    Raises:
        ConvscopeError: no photo that can be used, none with an annotation, no such layer, a level that is no share.
    """
    if not isinstance(net.preprocess, Preprocess):
        grid_of(net.preprocess, (1, 1), (1, 1))  # refused before anything is run
    check_level(level)
    _refuse_unannotated(concepts, source)
    tails = upper_quantiles(net, source, layers, batch=batch, skipped=skipped, on_image=on_image)
    levels = {layer: tail.compute(level) for layer, tail in tails.items()}
    found = {layer: _Found(Overlaps(tail.units), Exemplars(top)) for layer, tail in tails.items()}
    regions = UnitRegions(net, {layer: each[0] for layer, each in levels.items()})
    annotated, misfits = 0, FirstTold(skipped)
    passes = photo_passes(
        net, source, layers, batch=batch, skipped=_told_before, wanted=concepts.known, on_image=on_image
    )
    for photos, maps in passes:
        seen = _annotations(net, concepts, photos, misfits)
        annotated += len(seen)
        for layer in layers if seen else ():
            found[layer].take(layer, maps[layer], photos, seen, regions)
    _refuse_nothing(concepts, source, annotated, misfits.first)
    return {
        layer: _dissection(layer, tuple(concepts.names), levels[layer], found[layer], tails[layer], annotated)
        for layer in layers
    }


def upper_quantiles(
    net: Network,
    source: ImageSource,
    layers: Sequence[str],
    *,
    batch: int,
    skipped: Told,
    on_image: Callable[[], None] = lambda: None,
) -> dict[str, UpperQuantiles]:
    """The first pass: counts of every unit's activations over all photos.

    Raises:
        ConvscopeError: no photo that can be used.
    """
    tails: dict[str, UpperQuantiles] = {}
    told = FirstTold(skipped)
    for _, found in photo_passes(net, source, layers, batch=batch, skipped=told, on_image=on_image):
        for layer, maps in found.items():
            tail = tails.setdefault(layer, UpperQuantiles(maps.shape[1]))
            tail.update(maps.transpose(0, 1).flatten(1).cpu().numpy())
    if not tails:
        raise told.nothing_left(source)
    return tails


def _annotations(net: Network, concepts: Concepts, photos: PhotoBatch, skipped: Told) -> dict[int, list[Region]]:
    """Place in the batch -> what the photo shows; photos whose annotations do not fit are left out and told."""
    seen: dict[int, list[Region]] = {}
    for place, (name, size) in enumerate(zip(photos.names, photos.sizes, strict=True)):
        try:
            seen[place] = concepts.regions(name, grid_of(net.preprocess, size, mask_cells(photos.input_size)))
        except ConvscopeError as error:
            skipped(name, str(error))
    return seen


def _refuse_unannotated(concepts: Concepts, source: ImageSource) -> None:
    """Before the first pass: only names are looked at."""
    if not any(map(concepts.known, source.names())):
        first = next(iter(source.names()))
        none = f"none has the name of one of the {source.line()}"
        raise ConvscopeError(f"{concepts.line}: {none}, such as {first}")


def _refuse_nothing(concepts: Concepts, source: ImageSource, annotated: int, misfit: str) -> None:
    if not annotated:
        none = f"{concepts.line}: none of them is of a photo of {source.line()} that can be used"
        raise ConvscopeError(f"{none}; the first that is not: {misfit}" if misfit else none)
    if not concepts.names:
        unnamed = "no number in them stands for a concept (0 is nothing, nor is one unnamed)"
        raise ConvscopeError(f"{concepts.line}: {unnamed}")


def _told_before(_name: str, _why: str) -> None:
    """The first pass has named what cannot be read."""


class UnitRegions:
    """Where units are above their thresholds (u,), at any resolution; what that needs is made once an input size."""

    def __init__(self, net: Network, thresholds: Mapping[str, Float[np.ndarray, " u"]]) -> None:
        self.net, self.thresholds = net, {name: torch.from_numpy(each) for name, each in thresholds.items()}
        self._fields: dict[tuple[int, int], dict[str, ReceptiveField | None]] = {}
        self._upsamplers: dict[tuple[object, ...], Upsampler] = {}

    def of(
        self, layer: str, maps: Float[Tensor, "u h w"], input_size: tuple[int, int], cells: tuple[int, int]
    ) -> Bool[Tensor, "u rows columns"]:
        """The regions of one photo, of all units of a layer."""
        enlarged = self._upsampler(layer, maps, input_size, cells)(maps)
        return enlarged > self.thresholds[layer].to(enlarged)[:, None, None]

    def of_unit(
        self, layer: str, unit: int, map_: Float[Tensor, "h w"], input_size: tuple[int, int], cells: tuple[int, int]
    ) -> Bool[np.ndarray, "rows columns"]:
        """The region of one photo and unit."""
        enlarged = self._upsampler(layer, map_, input_size, cells)(map_[None])[0]
        return (enlarged > self.thresholds[layer][unit].to(enlarged)).cpu().numpy()

    def _upsampler(self, layer: str, maps: Tensor, input_size: tuple[int, int], cells: tuple[int, int]) -> Upsampler:
        h, w = maps.shape[-2:]
        key = layer, h, w, input_size, cells, maps.device
        if key not in self._upsamplers:
            field = self._fields_at(input_size)[layer]
            self._upsamplers[key] = Upsampler((h, w), input_size, cells, field, maps)
        return self._upsamplers[key]

    def _fields_at(self, input_size: tuple[int, int]) -> dict[str, ReceptiveField | None]:
        if input_size not in self._fields:
            like = torch.zeros(1, _channels(self.net), 1, 1).to(self.net.precision)
            views = layer_views(self.net.module, list(self.thresholds), input_size, like)
            self._fields[input_size] = {layer: view.field for layer, view in views.items()}
        return self._fields[input_size]


def _channels(net: Network) -> int:
    return net.preprocess.channels if isinstance(net.preprocess, Preprocess) else 3


@dataclass(frozen=True, eq=False)
class _Found:
    """What the second pass gathers of one layer."""

    overlaps: Overlaps
    winners: Exemplars

    def take(
        self,
        layer: str,
        maps: Float[Tensor, "b u h w"],
        photos: PhotoBatch,
        seen: Mapping[int, list[Region]],
        regions: UnitRegions,
    ) -> None:
        """A batch's annotated photos."""
        cells = mask_cells(photos.input_size)
        for place, concepts in seen.items():
            self.overlaps.update(regions.of(layer, maps[place], photos.input_size, cells), concepts)
        readings = read_units(maps[list(seen)], photos.input_size, layer)
        self.winners.update(readings, np.array([photos.numbers[place] for place in seen]))


def _dissection(
    layer: str,
    names: tuple[str, ...],
    level: tuple[Float[np.ndarray, " u"], Float[np.ndarray, " u"]],
    found: _Found,
    tail: UpperQuantiles,
    annotated: int,
) -> LayerDissection:
    both, areas = np.zeros((tail.units, len(names)), np.int64), np.zeros(len(names), np.int64)
    count = len(found.overlaps.concept_areas)  # concepts that no photo shows within the crop come last, or not at all
    both[:, :count], areas[:count] = found.overlaps.intersections, found.overlaps.concept_areas
    counted = both, found.overlaps.unit_areas, areas
    return LayerDissection(layer, names, *level, *counted, found.winners.compute(), annotated, tail.nonfinite)
