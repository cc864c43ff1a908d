"""The last step of a survey: parts become an atlas's tables, features, mean patterns and pictures.

    images, skipped, classes, confusion, prototypes, suspects     one pass over the rows of all images
    layers, units, unit_classes, neighbours,                      layer by layer: what was reduced of one is written
    features, mean patterns                                       and let go before the next, but for its winners
    exemplars, duplicates                                         when the boxes of all winners are known, size by size
    pictures, sprites                                             of the winners, whose photos are read once more

Everything is written aside and renamed, the tables last; until then a kill leaves the parts, and filling begins again
from them, with the same result.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from convscope.dataset import atlas_rows as rows_of
from convscope.dataset.deconv_patches import deconv_winners
from convscope.dataset.exemplars import Candidates
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.patch_sprites import sprites_of
from convscope.dataset.patches import PictureRow, Winner, cut_winners
from convscope.dataset.plan import Plan
from convscope.dataset.reducing import (
    ImagesSeen,
    ReadPart,
    ReducedLayer,
    image_rows,
    layer_units,
    reduce_layer,
    sampled_images,
)
from convscope.dataset.same_photos import SamePhotos
from convscope.dataset.winner_boxes import InputSizes, views_of, winner_boxes
from convscope.errors import ConvscopeError
from convscope.network.layer_boxes import LayerView
from convscope.network.loading import Network
from convscope.network.receptive_fields import Box
from convscope.store import schema
from convscope.store.feature_file import FEATURES, PATTERNS, Put, writing_tensors
from convscope.store.picture_files import keep_picture, read_picture, remove_unnamed
from convscope.store.tables import writing_tables

_CHANGED = (
    "is not the picture that it was in the pass: it was changed since, or is made anew at random each time. Its crops "
    "would be wrong: put it back and go on with --resume, or leave the crops out (--no-pictures)"
)
PutRows = Callable[[str, Iterable[tuple[Any, ...]]], None]
OnStage = Callable[[str, int, int], None]


def untold(_what: str, _done: int, _every: int) -> None:
    """Nobody is told of the steps."""


class NothingReadError(ConvscopeError):
    """Not one image could be used."""


@dataclass(frozen=True, eq=False)
class Filling:
    """What an atlas in ``folder`` is filled from. ``pictures``: crops and contexts; ``deconv``: these, too."""

    net: Network
    source: ImageSource
    plan: Plan
    folder: Path
    read: ReadPart
    about: Mapping[str, Any]
    pictures: bool = True
    deconv: bool = False
    threads: int | None = None
    on_step: OnStage = untold

    def fill(self, runs: Iterable[schema.RunRow]) -> None:
        """Write everything; the tables are there when this returns.

        Raises:
            ConvscopeError: not one image could be used, or a winner's photo is no longer there.
            UnwritableError: a full disk; what was there before stays.
        """
        with writing_tables(self.folder) as put:
            put("runs", runs)
            put("about", [schema.AboutRow(key, json.dumps(value)) for key, value in sorted(self.about.items())])
            seen = self._images(put)
            won = self._boxed(put, seen, self._layers(put, seen))
            files = self._pictures(put, won) if self.pictures or self.deconv else set[str]()
        remove_unnamed(self.folder, files)

    # ---- images and classes

    def _images(self, put: PutRows) -> ImagesSeen:
        seen, plan, first_reason = ImagesSeen.of(self.plan), self.plan, ""
        for number, rows in image_rows(plan, self.read):
            shard = plan.shard(number)
            put("images", rows_of.image_rows(shard, rows))
            put("skipped", rows_of.skipped_rows(shard, rows))
            seen.update(rows)
            first_reason = first_reason or next(iter(rows.refused.values()), "")
            self.on_step("reduce images", number + 1, plan.shards)
        if seen.refused == seen.images:
            raise NothingReadError(f"none of the {seen.images} pictures in {plan.data} can be used; {first_reason}")
        table = seen.compute()
        put("classes", rows_of.class_rows(plan, table))
        put("confusion", rows_of.confusion_rows(table))
        put("prototypes", rows_of.prototype_rows(table))
        put("suspects", rows_of.suspect_rows(table))
        return seen

    # ---- layers

    def _layers(self, put: PutRows, seen: ImagesSeen) -> "dict[str, tuple[Candidates, int]]":
        """Layer -> its winners, and from how many images."""
        plan, won, patterns = self.plan, dict[str, tuple[Candidates, int]](), dict[str, NDArray[np.generic]]()
        views = views_of(self.net, plan.layers, min(seen.sizes))
        with ExitStack() as files:
            keep = self._features(files)
            for number, layer in enumerate(plan.layers):
                reduced = reduce_layer(plan, self.read, layer)
                self._put_layer(put, number, reduced, views[layer])
                keep(f"{layer}/features", reduced.features)
                if reduced.patterns is not None:
                    patterns[f"{layer}/classes"] = reduced.patterns.classes
                    patterns[f"{layer}/maps"] = reduced.patterns.maps
                won[layer] = reduced.exemplars, reduced.statistics.images
                self.on_step("reduce layers", number + 1, len(plan.layers))
        shapes = {name: (_type(values), values.shape) for name, values in patterns.items()}
        with writing_tensors(self.folder / PATTERNS, shapes) as keep:
            for name, values in patterns.items():
                keep(name, values)
        return won

    def _put_layer(self, put: PutRows, number: int, reduced: ReducedLayer, view: LayerView) -> None:
        put("layers", [rows_of.layer_row(number, reduced, view)])
        put("units", rows_of.unit_rows(number, reduced.statistics))
        put("unit_classes", rows_of.unit_class_rows(number, reduced.statistics, len(self.plan.classes)))
        put("neighbours", rows_of.neighbour_rows(number, reduced))

    def _boxed(self, put: PutRows, seen: ImagesSeen, won: "dict[str, tuple[Candidates, int]]") -> "list[_Won]":
        """The winners with their boxes, written."""
        found = {layer: exemplars for layer, (exemplars, _) in won.items()}
        sizes, views = InputSizes(self.plan, self.read, seen.sizes), partial(views_of, self.net, self.plan.layers)
        boxes = winner_boxes(found, sizes.of, views, partial(self.on_step, "find boxes"))
        for number, (layer, (exemplars, images)) in enumerate(won.items()):
            put("exemplars", rows_of.exemplar_rows(number, exemplars, boxes[layer]))
            put("duplicates", rows_of.duplicate_rows(number, exemplars, boxes[layer], images))
        return [_Won(layer, *exemplars, boxes[layer]) for layer, exemplars in found.items()]

    def _features(self, files: ExitStack) -> Put:
        """Opens the file of the features, with the images' numbers in it."""
        images = sampled_images(self.plan, self.read)
        units = layer_units(self.plan, self.read)
        shapes: dict[str, Any] = {"features/images": (np.int64, images.shape)}
        shapes |= {f"{layer}/features": (np.float32, (len(images), count)) for layer, count in units.items()}
        put = files.enter_context(writing_tensors(self.folder / FEATURES, shapes))
        put("features/images", images)
        return put

    # ---- pictures

    def _pictures(self, put: PutRows, won: "list[_Won]") -> set[str]:
        """Makes and files them; the names of the files."""
        images = _winning_images(self.plan, self.read, won)
        winners = list(_winners(won, {number: name for number, (name, _) in images.items()}))
        source = SamePhotos(self.source, dict(images.values()).__getitem__, _CHANGED)
        keep, numbers = partial(keep_picture, self.folder), {layer: n for n, layer in enumerate(self.plan.layers)}
        made: list[PictureRow] = []
        if self.pictures:
            step = partial(self.on_step, "cut pictures")
            made += cut_winners(self.net, source, winners, keep, threads=self.threads, on_step=step)
        sprites = list(sprites_of(made, partial(read_picture, self.folder), keep))
        if self.deconv:
            for group in deconv_winners(
                self.net, source, winners, keep, batch=self.plan.batch, on_step=partial(self.on_step, "deconvnet")
            ):
                made += group
        made.sort(key=lambda row: (numbers[row.layer], row.unit, row.rank, row.kind))
        put("pictures", (
            schema.PictureRow(numbers[r.layer], r.unit, r.rank, r.kind, r.file, r.y, r.x) for r in made
        ))  # fmt: skip
        put("sprites", (
            schema.SpriteRow(numbers[s.layer], s.kind, s.first_unit, s.units, s.columns, s.cell, s.file)
            for s in sprites
        ))  # fmt: skip
        return {row.file for row in made} | {sheet.file for sheet in sprites}


@dataclass(frozen=True, eq=False)
class _Won:
    """The winners of one layer, as arrays: all that is kept of it for its pictures."""

    layer: str
    values: NDArray[np.floating[Any]]
    images: NDArray[np.integer[Any]]
    y: NDArray[np.integer[Any]]
    x: NDArray[np.integer[Any]]
    boxes: Int[np.ndarray, "u top 4"]


def _winners(won: "list[_Won]", names: Mapping[int, str]) -> Iterator[Winner]:
    for of in won:
        for unit, rank in np.argwhere(of.images >= 0).tolist():
            value, y, x = (each[unit, rank].item() for each in (of.values, of.y, of.x))
            image, box = names[int(of.images[unit, rank])], Box(*of.boxes[unit, rank].tolist())
            yield Winner(of.layer, unit, rank, image, box, value, y, x)


def _winning_images(plan: Plan, read: ReadPart, won: "list[_Won]") -> dict[int, tuple[str, bytes]]:
    """Number -> id and digest of the images that won something; each shard is looked at once."""
    numbers = np.unique(np.concatenate([of.images[of.images >= 0].ravel() for of in won])).tolist()
    wanted, found = set(numbers), dict[int, tuple[str, bytes]]()
    for shard in sorted({number // plan.shard_size for number in numbers}):
        digests = read(shard, "images/digest")["images/digest"]
        for image, digest in zip(plan.shard(shard).images, digests, strict=True):
            if image.number in wanted:
                found[image.number] = image.name, digest.tobytes()
    return found


def _type(values: NDArray[np.generic]) -> type[np.float32] | type[np.int64]:
    return np.int64 if values.dtype.kind == "i" else np.float32
