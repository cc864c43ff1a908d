"""Does the map lie on the object? Over all images that have a box, the errors held against the right answers.

With M the map of the class that was *answered*, laid over the network's input as it is drawn (bilinear), M+ its
positive part and B the pixels of the labelled object's boxes (of all boxes, where none bears the label):

    share inside = sum_B M+ / sum M+,      area = |B| / all pixels,      outside: max_B M < max M

A map that knows nothing of the object has a share inside of about the area, and lies outside about as often as a random
pixel does: 1 - area. So the three belong together. Maps without a positive value have neither share nor place, and are
counted. Images whose boxes lie outside the crop that the network sees are left out; the audit's notes say how many.

Pitfalls: a box has corners that are background. A map of 7 x 7 cells over 224 pixels spills over every box. And an
answer may rest on what is around the object and still be right: that the share is low is a question, not a fault.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from convscope.attribution.method import Method
from convscope.attribution.registry import METHODS, find_method
from convscope.attribution.sliding_occlusion import square_of
from convscope.audits.answered import Judged
from convscope.dataset.concept_boxes import Boxes
from convscope.dataset.concepts import grid_of
from convscope.dataset.data_labels import DataLabels
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.photo_batches import PhotoBatch, Told, photo_passes
from convscope.drawing import on_the_photo
from convscope.errors import ConvscopeError
from convscope.labels import ClassNames
from convscope.network.loading import Network
from convscope.render.scale import upsample
from convscope.seeds import seeded

_MAP = "map"


@dataclass(frozen=True)
class Place:
    """Where one map lies: ``inside`` is NaN and ``outside`` False where it has no positive value."""

    inside: float
    area: float
    outside: bool

    @property
    def is_empty(self) -> bool:
        """A map without a positive value."""
        return bool(np.isnan(self.inside))


@dataclass(frozen=True)
class Places:
    """Means over some maps: ``images`` have a place, ``empty`` are without a positive value. NaN of none."""

    images: int
    empty: int
    inside: float
    area: float
    outside: float


def place_of(values: Float[np.ndarray, "h w"], cells: Bool[np.ndarray, "rows columns"]) -> Place:
    """Where a map lies, given which pixels of the input are the object's."""
    heat = upsample(np.asarray(values, np.float64), (cells.shape[0], cells.shape[1]))
    mass = np.maximum(heat, 0.0)
    total, area = float(mass.sum()), float(cells.mean())
    if total <= 0:
        return Place(float("nan"), area, False)
    return Place(float(mass[cells].sum()) / total, area, bool(heat[cells].max(initial=-np.inf) < heat.max()))


def mean_place(places: Sequence[Place]) -> Places:
    """Over several maps."""
    seen = [each for each in places if not each.is_empty]
    nan = float("nan")
    inside, area, outside = (
        float(np.mean([float(value) for value in values])) if seen else nan
        for values in ([p.inside for p in seen], [p.area for p in seen], [p.outside for p in seen])
    )
    return Places(len(seen), len(places) - len(seen), inside, area, outside)


def checked_method(name: str) -> Method:
    """A method that gives each class one number a place.

    Raises:
        ConvscopeError: one that knows no class, or gives one number a colour.
    """
    found = find_method(name)
    possible = ", ".join(each.name for each in METHODS.values() if not each.classless and each.output != "pixels")
    if found.classless:
        raise ConvscopeError(f"{found.name} gives one map for every class: give one of {possible}")
    if found.output == "pixels":
        raise ConvscopeError(f"{found.name} gives a number for each colour of a pixel, no map: give one of {possible}")
    return found


def maps_of(
    net: Network, x: Tensor, method: Method, targets: Sequence[int], layer: str | None
) -> list[Float[Tensor, "h w"]]:
    """One map a row of ``x``, of its own class, as it lies on the network's input."""
    size, options = (x.shape[2], x.shape[3]), dict[str, object]()
    if method.needs_layer:
        options["layer"] = layer
    if method.name == "occlusion":
        options["size"], options["stride"] = square_of(*size, None, None)
        options["reading"] = method.defaults["reading"]
    elif "generator" in method.defaults:
        options["generator"] = seeded(0)
    values = method(net.module, x, target=list(targets), **options).float().cpu()
    return [on_the_photo(method.name, one, options, size) for one in values]


class Objects:
    """Where the labelled object is, on a grid over the network's input."""

    def __init__(self, net: Network, boxes: Boxes, labels: DataLabels) -> None:
        self.net, self.boxes, self.labels = net, boxes, labels
        self._classes = ClassNames(net.classes)

    def cells(
        self, name: str, label: int, photo_size: tuple[int, int], cells: tuple[int, int]
    ) -> Bool[np.ndarray, "rows columns"] | None:
        """The pixels in its boxes, or in all of the photo's where none has its name; None without a box in view.

        Raises:
            ConvscopeError: a box that leaves the photo, a network whose view of it is not known.
        """
        if not self.boxes.known(name):
            return None
        regions = self.boxes.regions(name, grid_of(self.net.preprocess, photo_size, cells))
        own = [each for each in regions if self._is_of(each.concept, label)]
        found: Bool[np.ndarray, "rows columns"] = np.logical_or.reduce([each.cells for each in own or regions])
        return found if found.any() else None

    def _is_of(self, concept: int, label: int) -> bool:
        known = self._classes.label(self.boxes.names[concept])
        return known is not None and bool(known.classes & set(self.labels.right[label]))


def places(
    net: Network,
    source: ImageSource,
    images: Sequence[Judged],
    objects: Objects,
    method: Method,
    layer: str | None,
    *,
    skipped: Told,
    batch: int = 16,
    on_image: Callable[[], None] = lambda: None,
) -> dict[int, Place]:
    """Image number -> where the map of its answer lies, of all images that have a box: a pass of its own.

    Raises:
        ConvscopeError: a method that does not apply to the network.
    """
    by_name = {each.name: each for each in images if objects.boxes.known(each.name)}

    def read(net: Network, photos: PhotoBatch, _: Sequence[str]) -> dict[str, Tensor]:
        answers = [by_name[name].predicted for name in photos.names]
        return {_MAP: torch.stack(maps_of(net, photos.x, method, answers, layer))}

    found: dict[int, Place] = {}
    passes = photo_passes(
        net, source, [], batch=batch, skipped=skipped, wanted=by_name.__contains__, on_image=on_image, read=read
    )
    for photos, maps in passes:
        for name, size, values in zip(photos.names, photos.sizes, maps[_MAP], strict=True):
            one = by_name[name]
            try:
                cells = objects.cells(name, one.label, size, photos.input_size)
            except ConvscopeError as error:
                skipped(name, str(error))
                continue
            if cells is not None:
                found[one.number] = place_of(values.numpy(), cells)
    return found
