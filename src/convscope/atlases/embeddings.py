"""Embeddings as results: the images of a data set as points, by class, and as small pictures in the same places.

The features are those of an atlas, or are taken straight from photos, of all layers in one pass of the network. The
result is an ``Embedding``, see ``embedding_sheets``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from convscope.atlases.atlas_photos import source_of_atlas
from convscope.atlases.atlas_stamp import stamp_of
from convscope.atlases.embedding_sheets import NEAREST, Embedding
from convscope.dataset.data_labels import data_labels
from convscope.dataset.embedding import embed as projected
from convscope.dataset.embedding import neighbours_alike
from convscope.dataset.finite_features import finite_features
from convscope.dataset.image_sources import source_of
from convscope.dataset.patches import Photos
from convscope.dataset.pooled_features import MOST, pooled_features
from convscope.errors import ConvscopeError
from convscope.network.head import default_layer
from convscope.network.layers import find_calls
from convscope.network.listing import example_input
from convscope.network.loading import Network
from convscope.render.thumbnail_map import cells_for, one_a_cell
from convscope.stamps import Stamp, stamp

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

_THUMBNAIL = 96  # pixels that are kept of a photo


def embed_atlas(
    atlas: "Atlas",
    layer: str | None = None,
    method: str = "t-sne",
    *,
    data: Any = None,
    thumbnails: bool = True,
    on_note: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Embedding:
    """The images whose features an atlas kept, as points.

    Args:
        atlas: from ``open_atlas`` or ``survey``.
        layer: one of its layers; None is the last.
        method: ``"pca"``, ``"t-sne"`` or ``"umap"``.
        data: where the photos are now, if they were moved; only thumbnails need them.
        thumbnails: False leaves them out.
        on_note: told what was left out, and why.
        options: seed, perplexity, neighbours, min_distance, as of ``dataset.embedding.embed``.

    Raises:
        ConvscopeError: a layer that the atlas has not, or as ``embed``.
    """
    name = layer or atlas.layers[-1].name
    images, features = atlas.features(name)
    labelled = [(image, atlas.label(image)) for image in images]
    source: Photos | None = None
    if thumbnails:
        try:
            source = source_of_atlas(atlas, data)
        except ConvscopeError as why:
            if data is not None:
                raise
            on_note(f"no thumbnails: {why}")
    found = _Found(name, str(atlas.about.get("data_line") or atlas.path.name), {}, stamp_of(atlas), on_note)
    made = _made(found, labelled, np.asarray(features), method, source, options)
    if source is not None and not made.thumbnails:
        on_note(f"no thumbnails: none of the photos can be read from {source.line()}; say with --data where they are")
    return made


def embed_data(net: Network, data: Any, layer: str | None = None, method: str = "t-sne", **options: Any) -> Embedding:
    """The images of a folder, an archive or a Dataset as points, by one pass of its own.

    Args:
        net: from ``load``.
        data: whatever ``survey`` takes.
        layer: its name; None is the last map before the head.
        method: ``"pca"``, ``"t-sne"`` or ``"umap"``.
        options: as of :func:`embed_layers`.

    Raises:
        ConvscopeError: as ``embed_layers``.
    """
    (made,) = embed_layers(net, data, [] if layer is None else [layer], method, **options).values()
    return made


def embed_layers(
    net: Network,
    data: Any,
    layers: Sequence[str] = (),
    method: str = "t-sne",
    *,
    labels: str = "auto",
    most: int = MOST,
    batch: int = 16,
    thumbnails: bool = True,
    on_note: Callable[[str], None] = lambda _: None,
    on_step: Callable[[int, int], None] | None = None,
    **options: Any,
) -> dict[str, Embedding]:
    """The images as points once for each of some layers, by one pass for all of them.

    Args:
        net: from ``load``.
        data: whatever ``survey`` takes.
        layers: their names; none is the last map before the head.
        method: ``"pca"``, ``"t-sne"`` or ``"umap"``.
        labels: where the classes are: ``auto``, ``folders``, ``names``, ``groups`` or ``none``, as for ``survey``.
        most: a sample of at most so many images.
        batch: photos in one pass.
        thumbnails: False leaves them out.
        on_note: told what is remarkable of the labels, and which units were left out.
        on_step: called with (done, all) photos.
        options: seed, perplexity, neighbours, min_distance, as of ``dataset.embedding.embed``.

    Raises:
        ConvscopeError: no such layer, no image that can be used, or as ``embed``.
    """
    source = source_of(data)
    names = list(layers) or [default_layer(net.module, example_input(net))]
    find_calls(net.module, names)
    known = data_labels(source, net.classes, labels)
    if known.note:
        on_note(known.note)
    left_out: dict[str, str] = {}
    asked: dict[str, Any] = {"most": most, "batch": batch, "on_step": on_step, "skipped": left_out.__setitem__}
    images, features = pooled_features(net, source, names, **asked)
    numbers = [known.number(image) for image in images]
    labelled = [(image, None if n < 0 else known.classes[n]) for image, n in zip(images, numbers, strict=True)]
    photos = source if thumbnails else None
    about = source.line(), left_out, stamp(net), on_note
    return {name: _made(_Found(name, *about), labelled, features[name], method, photos, options) for name in names}


@dataclass(frozen=True)
class _Found:
    """What an embedding says of itself, but for its points."""

    layer: str
    data: str
    left_out: Mapping[str, str]
    stamp: Stamp
    on_note: Callable[[str], None]


def _made(
    found: _Found,
    labelled: Sequence[tuple[str, str | None]],
    features: Float[np.ndarray, "n u"],
    method: str,
    source: Photos | None,
    options: Mapping[str, Any],
) -> Embedding:
    kept = finite_features(found.layer, [image for image, _ in labelled], features)
    if note := kept.note(found.layer):
        found.on_note(note)
    projection, features = projected(kept.features, method, **options), kept.features
    images, classes = zip(*(labelled[place] for place in kept.places), strict=True)
    alike = None
    if len({label for label in classes if label is not None}) > 1:
        alike = neighbours_alike(features, classes, NEAREST), neighbours_alike(projection.points, classes, NEAREST)
    small = {} if source is None else _thumbnails(source, images, projection.points)
    left_out = {**found.left_out, **kept.left_out}
    of = found.layer, features.shape[1], found.data, alike, left_out, kept.units_left_out
    return Embedding(projection, images, classes, *of, small, found.stamp)


def _thumbnails(source: Photos, images: Sequence[str], points: Float[np.ndarray, "n 2"]) -> dict[int, Image.Image]:
    """The pictures of those that have a place on the sheet, by place; without those that cannot be read any more."""
    small: dict[int, Image.Image] = {}
    for shown in one_a_cell(points, cells_for(len(images))):
        try:
            picture = source.read(images[shown.point]).image
        except (ConvscopeError, OSError, KeyError):
            continue
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
        small[shown.point] = picture
    return small
