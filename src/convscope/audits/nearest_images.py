"""The images that lie nearest to some others at a layer, found while they stream by.

    d(q, i) = |f(q) - f(i)|,      f = the means of the layer's maps

Right below a head that takes these means and one linear layer, two images at distance 0 get the same logits: what lies
near an error is what the network cannot tell it from. Of n images only the ``most`` nearest of each query are kept, so
memory does not grow with n. Equal distances go to the earlier image.

Pitfall: near at the last map is near *for this network*. A photo that it takes for a dog lies among dogs, whether it
shows one or not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from convscope.atlases.atlas_photos import source_of_atlas
from convscope.dataset.data_labels import DataLabels, data_labels
from convscope.dataset.image_sources import ImageSource, source_of
from convscope.dataset.patches import Photos
from convscope.dataset.photo_batches import Told, photo_passes
from convscope.dataset.readings import read_units
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.picture_folders import is_atlas
from convscope.store.atlas import Atlas, open_atlas

NEAREST = 5


class NearestImages:
    """The ``most`` nearest to each of ``queries``; ``itself`` are the numbers of the queries among the images."""

    def __init__(
        self, queries: Float[np.ndarray, "q u"], most: int, itself: Int[np.ndarray, " q"] | None = None
    ) -> None:
        self._queries, self.most, self._itself = queries.astype(np.float64), most, itself
        self.numbers = np.full((len(queries), most), -1, np.int64)
        self.distances = np.full((len(queries), most), np.inf)

    def update(self, numbers: Int[np.ndarray, " n"], features: Float[np.ndarray, "n u"]) -> None:
        """Take in images, whose numbers are larger than those before."""
        found = distances(self._queries, features.astype(np.float64))  # NaN sorts last, and is left out by ``of``
        if self._itself is not None:
            found[self._itself[:, None] == numbers[None]] = np.inf
        every = np.concatenate([self.distances, found], 1)
        which = np.concatenate([self.numbers, np.broadcast_to(numbers, found.shape)], 1)
        order = np.argsort(every, 1, kind="stable")[:, : self.most]
        self.distances = np.take_along_axis(every, order, 1)
        self.numbers = np.take_along_axis(which, order, 1)

    def of(self, query: int) -> list[tuple[int, float]]:
        """(number, distance), nearest first; fewer where there are fewer images."""
        pairs = zip(self.numbers[query].tolist(), self.distances[query].tolist(), strict=True)
        return [(number, distance) for number, distance in pairs if np.isfinite(distance)]


def distances(a: Float[np.ndarray, "q u"], b: Float[np.ndarray, "n u"]) -> Float[np.ndarray, "q n"]:
    """Euclidean, of every row of a to every row of b."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0.0))


@dataclass(frozen=True, eq=False)
class Known:
    """The images that errors are held against: their photos, and what they are."""

    photos: Photos
    line: str
    names: dict[int, str]
    label: Callable[[str], str]
    right: Callable[[str], tuple[int, ...]]

    def photo(self, number: int) -> Image.Image:
        """One of them. Raises ConvscopeError where it cannot be read any more."""
        return self.photos.read(self.names[number]).image


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """Images with labels, which have yet to go through the network."""

    net: Network
    layer: str
    source: ImageSource
    labels: DataLabels

    def fill(
        self,
        found: NearestImages,
        *,
        skipped: Told,
        batch: int = 16,
        on_source: Callable[[str, ImageSource], Callable[[], None]] = lambda _what, _source: lambda: None,
    ) -> Known:
        """All of them past the queries, if there are any."""
        if len(found.numbers):
            asked: dict[str, Any] = {"skipped": skipped, "on_image": on_source("nearest", self.source)}
            for photos, maps in photo_passes(self.net, self.source, [self.layer], batch=batch, **asked):
                pooled = read_units(maps[self.layer], photos.input_size, self.layer).pooled
                found.update(np.array(photos.numbers), pooled)
        wanted = set(found.numbers.ravel().tolist())
        names = {number: name for number, name in enumerate(self.source.names()) if number in wanted}
        rights = dict(zip(self.labels.classes, self.labels.right, strict=True))
        return Known(self.source, self.source.line(), names, self._label, lambda text: rights.get(text, ()))

    def _label(self, name: str) -> str:
        number = self.labels.number(name)
        return self.labels.classes[number] if number >= 0 else ""


@dataclass(frozen=True, eq=False)
class TrainingAtlas:
    """An atlas of the same network, which has the features already: of a sample, where it is of many images."""

    atlas: Atlas
    layer: str

    def fill(self, found: NearestImages, **_: Any) -> Known:
        """Its features past the queries, if there are any."""
        images, features = self.atlas.features(self.layer)
        if len(found.numbers):
            found.update(np.arange(len(images)), np.asarray(features))
        names = {number: images[number] for number in set(found.numbers.ravel().tolist()) if number >= 0}
        line = f"{len(images):,} images of {self.atlas.path.name}"
        return Known(source_of_atlas(self.atlas), line, names, self._label, self.atlas.right)

    def _label(self, name: str) -> str:
        return self.atlas.label(name) or ""


def training_data(net: Network, layer: str, known: Any, labels: str) -> TrainingImages | TrainingAtlas:
    """What errors are to be held against: an atlas of this network, or images; nothing is run yet.

    Raises:
        ConvscopeError: data without labels, an atlas of another network or without the layer.
    """
    if isinstance(known, Atlas) or _is_atlas(known):
        return _of_atlas(net, layer, known if isinstance(known, Atlas) else open_atlas(known))
    source = source_of(known)
    read = data_labels(source, net.classes, labels)
    if not read.classes:
        raise ConvscopeError(
            f"{source.line()}, given as training data, has no labels: nobody knows what lies near an error"
        )
    return TrainingImages(net, layer, source, read)


def _is_atlas(known: Any) -> bool:
    return isinstance(known, str | Path) and is_atlas(Path(known))


def _of_atlas(net: Network, layer: str, atlas: Atlas) -> TrainingAtlas:
    made_with = atlas.about.get("network", {}).get("fingerprint")
    if made_with != net.fingerprint:
        raise ConvscopeError(
            f"{atlas.path.name} was made with another network (fingerprint {made_with}, not {net.fingerprint} of "
            f"{net.name}): nothing in it lies near this one's errors"
        )
    if not atlas.classes:
        raise ConvscopeError(f"{atlas.path.name} is of images without labels: nobody knows what lies near an error")
    atlas.layer(layer)
    source_of_atlas(atlas)  # its photos are still there
    return TrainingAtlas(atlas, layer)
