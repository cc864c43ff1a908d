"""The images that lie nearest to some others at a layer, found while they stream by.

    d(q, i) = |f(q) - f(i)|,      f = the means of the layer's maps, or its values where it has no maps

Where f is what the last linear layer is given, two images at distance 0 get the same logits: what lies near an error is
what the network cannot tell it from. That is the means of the last map below a head that takes them, and the last
hidden layer of a head that has some (``last_features``): such a head knows where in a map something is, and the means
do not. On the digits, 98 % of the nearest five are of an image's own class there, and 85 % by the means.

Of n images only the ``most`` nearest of each query are kept, so memory does not grow with n. Equal distances go to the
earlier image.

A query that is among the images itself says nothing by being near: one and the same file with the same label is left
out, under whatever name. One and the same file with *another* label stays, as the nearest: one of the two is wrong.

Pitfall: near at the last map is near *for this network*. A photo that it takes for a dog lies among dogs, whether it
shows one or not.
"""

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from convscope.atlases.atlas_photos import source_of_atlas
from convscope.dataset.data_labels import DataLabels, data_labels
from convscope.dataset.image_sources import ImageSource, source_of
from convscope.dataset.patches import Photos
from convscope.dataset.photo_batches import Told, photo_passes
from convscope.dataset.readings import read_units
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.head import linear_head
from convscope.network.loading import Network
from convscope.network.picture_folders import is_atlas
from convscope.network.rectified_layers import layers_of_pass
from convscope.store.atlas import Atlas, open_atlas

NEAREST, MOST_FEATURES = 5, 8192  # numbers an image: of 10,000 errors 640 MB
_ABOUT_ZERO = 0.01  # of a query's length: the same photo in another batch, or in half precision, is not quite at 0

Own = Callable[[int], Sequence[int]]  # the place of an image among those that are taken in -> the queries that it is


class NearestImages:
    """The ``most`` nearest to each of ``queries``; ``again`` are the queries that came by themselves."""

    def __init__(self, queries: Float[np.ndarray, "q u"], most: int) -> None:
        self._queries, self.most = queries.astype(np.float64), most
        self._reach = _ABOUT_ZERO * np.linalg.norm(self._queries, axis=1, keepdims=True)
        self.numbers = np.full((len(queries), most), -1, np.int64)
        self.distances = np.full((len(queries), most), np.inf)
        self.again: set[int] = set()

    def update(
        self, numbers: Int[np.ndarray, " n"], features: Float[np.ndarray, "n u"], own: Own = lambda _place: ()
    ) -> None:
        """Take in images, whose numbers are larger than those before; ``own`` is asked of those at distance about 0."""
        found = distances(self._queries, features.astype(np.float64))  # NaN sorts last, and is left out by ``of``
        for place in np.flatnonzero((found <= self._reach).any(0)).tolist():
            own_queries = list(own(place))
            found[own_queries, place] = np.inf
            self.again.update(own_queries)
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
class Queries:
    """The photos that are asked about, by name, and the classes that are right for each."""

    source: ImageSource
    names: Sequence[str]
    rights: Sequence[Sequence[int]]

    def same(self, digest: Callable[[], bytes], classes: Sequence[int]) -> list[int]:
        """Those that are the file of this digest, and have its label."""
        try:
            found = self._by_digest.get(digest(), [])
        except ConvscopeError:  # it has gone since it was shown to the network
            return []
        return [query for query in found if set(classes) & set(self.rights[query])]

    @cached_property
    def _by_digest(self) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for query, name in enumerate(self.names):
            with suppress(ConvscopeError):
                found.setdefault(self.source.digest(name), []).append(query)
        return found


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
        queries: Queries,
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
                found.update(np.array(photos.numbers), pooled, partial(self._own, queries, photos.names))
        wanted = set(found.numbers.ravel().tolist())
        names = {number: name for number, name in enumerate(self.source.names()) if number in wanted}
        return Known(self.source, self.source.line(), names, self._label, self._right)

    def _own(self, queries: Queries, names: Sequence[str], place: int) -> list[int]:
        name = names[place]
        return queries.same(lambda: self.source.digest(name), self._right(self._label(name)))

    @cached_property
    def _rights(self) -> dict[str, tuple[int, ...]]:
        return dict(zip(self.labels.classes, self.labels.right, strict=True))

    def _right(self, label: str) -> tuple[int, ...]:
        return self._rights.get(label, ())

    def _label(self, name: str) -> str:
        number = self.labels.number(name)
        return self.labels.classes[number] if number >= 0 else ""


@dataclass(frozen=True, eq=False)
class TrainingAtlas:
    """An atlas of the same network, which has the features already: of a sample, where it is of many images."""

    atlas: Atlas
    layer: str

    def fill(self, found: NearestImages, queries: Queries, **_: Any) -> Known:
        """Its features past the queries, if there are any."""
        images, features = self.atlas.features(self.layer)
        if len(found.numbers):
            found.update(np.arange(len(images)), np.asarray(features), partial(self._own, queries, images))
        names = {number: images[number] for number in set(found.numbers.ravel().tolist()) if number >= 0}
        line = f"{len(images):,} images of {self.atlas.path.name}"
        return Known(source_of_atlas(self.atlas), line, names, self._label, self.atlas.right)

    def _own(self, queries: Queries, names: Sequence[str], place: int) -> list[int]:
        name, label = names[place], self._label(names[place])
        return queries.same(lambda: self.atlas.digest(name), self.atlas.right(label) if label else ())

    def _label(self, name: str) -> str:
        return self.atlas.label(name) or ""


def last_features(net: Network, x: Tensor, layer: str) -> str:
    """The layer that gives what the last linear layer is given, as numbers without a place; ``layer`` if there is none.

    ``layer`` too where the head takes the mean of its maps, since that is the same.
    """
    try:
        linear_head(net.module, x, layer)
    except ConvscopeError:
        with suppress(ConvscopeError), evaluation(net.module):
            ran = layers_of_pass(net.module, x)
            before = list(itertools.takewhile(lambda each: each[0] != ran.head, ran.outputs.items()))
            # after the maps: within them are gates, such as squeeze and excitation's, which are no features
            after = next((place for place, (name, _) in enumerate(before) if name == layer), -1)
            flat = [name for name, shape in before[after + 1 :] if len(shape) == 2 and shape[1] <= MOST_FEATURES]
            return flat[-1] if ran.head is not None and flat else layer
    return layer


def training_data(net: Network, layer: str, known: Any, labels: str) -> TrainingImages | TrainingAtlas:
    """What errors are to be held against: an atlas of this network, or images; nothing is run yet.

    Raises:
        ConvscopeError: data without labels, an atlas of another network or without the layer.
    """
    if isinstance(known, Atlas) or _is_atlas(known):
        return _of_atlas(net, layer, known if isinstance(known, Atlas) else open_atlas(known))
    source = source_of(known)
    try:
        read = data_labels(source, net.classes, labels)
    except ConvscopeError as error:
        raise ConvscopeError(f"{source.line()}, given as training data: {error}") from error
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
    try:
        atlas.layer(layer)
    except ConvscopeError as error:
        raise ConvscopeError(
            f"{error}; what lies near an error is sought there: survey it too (--layers), or give --layer"
        ) from error
    source_of_atlas(atlas)  # its photos are still there
    return TrainingAtlas(atlas, layer)
