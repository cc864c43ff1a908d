"""The rows of an atlas's tables from reduced results (``store.schema`` has the columns).

Numbers in place of names, NULL in place of NaN, and of the exemplars their receptive boxes. A unit is *dead* where it
has no value above zero in any image: after a ReLU it says nothing at all.

Pitfall: a convolution with a normalisation behind it may be negative everywhere and alive all the same.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from convscope.dataset.class_results import ClassTable
from convscope.dataset.duplicates import duplicate_units, shared_images
from convscope.dataset.exemplars import Candidates
from convscope.dataset.image_rows import ImageRows
from convscope.dataset.plan import Plan, Shard
from convscope.dataset.reducing import ReducedLayer
from convscope.dataset.statistics import Statistics
from convscope.network.layer_boxes import LayerView
from convscope.store import schema
from convscope.store.tables import packed

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.995)
Size = tuple[int, int]


def _known(value: float | np.floating[Any]) -> float | None:
    return None if np.isnan(value) else float(value)


def image_rows(shard: Shard, rows: ImageRows) -> Iterator[schema.ImageRow]:
    """The images of a shard that were read."""
    columns = zip(
        shard.images, rows.label.tolist(), rows.predicted.tolist(), rows.probability.tolist(), rows.loss.tolist(),
        rows.right_logit.tolist(), rows.digest, rows.input_size.tolist(), strict=True,
    )  # fmt: skip
    for image, label, predicted, probability, loss, logit, digest, (height, width) in columns:
        if image.number not in rows.refused:
            answer = _known(probability), _known(loss), _known(logit)
            yield schema.ImageRow(image.number, image.name, label, predicted, *answer, digest.tobytes(), height, width)


def skipped_rows(shard: Shard, rows: ImageRows) -> Iterator[schema.SkippedRow]:
    """The images of a shard that were left out."""
    for image in shard.images:
        if image.number in rows.refused:
            yield schema.SkippedRow(image.number, image.name, rows.refused[image.number])


def layer_row(number: int, reduced: ReducedLayer, view: LayerView) -> schema.LayerRow:
    """A layer and its field."""
    first = (number, reduced.name, view.type, *reduced.shape)
    field = view.field
    if field is None:
        return schema.LayerRow(*first, None, None, None, None, None, None)
    return schema.LayerRow(*first, *field.size, *field.stride, *field.offset)


def unit_rows(layer: int, of: Statistics) -> Iterator[schema.UnitRow]:
    """The statistics of a layer's units."""
    quantiles = np.stack([of.quantile(q) for q in QUANTILES], axis=1).astype("<f8")
    for unit in range(len(of.count)):
        yield schema.UnitRow(
            layer=layer,
            unit=unit,
            positions=int(of.count[unit]),
            mean=_known(of.mean[unit]),
            variance=_known(of.variance[unit]),
            share_positive=_known(of.share_positive[unit]),
            maximum=_known(of.maximum[unit]),
            minimum=_known(of.minimum[unit]),
            selectivity=_known(of.selectivity[unit]),
            selective_class=int(of.selective_class[unit]),
            dead=int(of.count[unit] > 0 and not of.share_positive[unit] > 0),
            nans=int(of.nans[unit]),
            infinities=int(of.infinities[unit]),
            nonfinite_images=int(of.nonfinite_images[unit]),
            first_nonfinite=int(of.first_nonfinite[unit]),
            histogram=packed(of.histogram[unit].astype("<i8")),
            quantiles=quantiles[unit].tobytes(),
        )


def unit_class_rows(layer: int, of: Statistics, classes: int) -> Iterator[schema.UnitClassesRow]:
    """The statistics of a layer's units a data class: one number a class, also of those without an image."""
    if not classes:
        return
    by, units = of.by_class, len(of.count)
    count = np.zeros((classes, units), "<i8")
    count[by.classes] = by.count
    measures: list[NDArray[np.float32]] = []
    for values in (by.mean, by.variance, by.share_positive, by.maximum, by.minimum, by.rectified):
        every = np.full((classes, units), np.nan, "<f4")
        every[by.classes] = values
        measures.append(every)
    for unit in range(units):
        yield schema.UnitClassesRow(
            layer, unit, count[:, unit].tobytes(), *(np.ascontiguousarray(m[:, unit]).tobytes() for m in measures)
        )


def exemplar_rows(layer: int, found: Candidates, boxes: Int[np.ndarray, "u top 4"]) -> Iterator[schema.ExemplarRow]:
    """The exemplars of a layer's units, the empty places left out."""
    for unit, rank in np.argwhere(found.images >= 0).tolist():
        place = (each[unit, rank].item() for each in (found.values, found.images, found.y, found.x))
        yield schema.ExemplarRow(layer, unit, rank, *place, *boxes[unit, rank].tolist())


def neighbour_rows(layer: int, reduced: ReducedLayer) -> Iterator[schema.NeighbourRow]:
    """The nearest units of each unit."""
    for unit, rank in np.argwhere(reduced.nearest >= 0).tolist():
        other, r = int(reduced.nearest[unit, rank]), float(reduced.correlations[unit, rank])
        yield schema.NeighbourRow(layer, unit, rank, other, r)


def duplicate_rows(
    layer: int, found: Candidates, boxes: Int[np.ndarray, "u top 4"], images: int
) -> Iterator[schema.DuplicateRow]:
    """Pairs of units that share their crops (``duplicates``), of so many images."""
    for u, v, shared in duplicate_units(found.images, boxes, images):
        yield schema.DuplicateRow(layer, u, v, shared, json.dumps(shared_images(found.images, boxes, u, v)))


def class_rows(plan: Plan, table: ClassTable) -> Iterator[schema.ClassRow]:
    """The data classes."""
    for number, (name, right, of) in enumerate(zip(plan.classes, plan.right, table.classes, strict=True)):
        yield schema.ClassRow(
            number, name, json.dumps(list(right)), of.images, of.judged, of.right, _known(of.mean_loss)
        )


def prototype_rows(table: ClassTable) -> Iterator[schema.PrototypeRow]:
    """The best images of each class."""
    for number, of in enumerate(table.classes):
        for kind, best in (("largest logit", of.largest_logit), ("least loss", of.least_loss)):
            for rank, (image, value) in enumerate(best):
                yield schema.PrototypeRow(number, kind, rank, image, value)


def confusion_rows(table: ClassTable) -> Iterator[schema.ConfusionRow]:
    """The pairs that occur."""
    for (number, predicted), images in table.confusion.items():
        yield schema.ConfusionRow(number, predicted, images)


def suspect_rows(table: ClassTable) -> Iterator[schema.SuspectRow]:
    """The images of largest loss."""
    for rank, (image, loss) in enumerate(table.suspects):
        yield schema.SuspectRow(rank, image, loss)
