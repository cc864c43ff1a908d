"""Pooled features straight from photos: the mean of every unit of some layers over its map, one row an image.

As a survey keeps them: of at most ``most`` images, those whose number is a multiple of ceil(n / most), so that the
sample is spread over all folders, and the mean of each map's finite values, NaN where a map has none. What cannot be
read, or what the network does not take, is left out and told.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from convscope.dataset.image_sources import ImageSource
from convscope.dataset.photo_batches import FirstTold, Told, photo_passes
from convscope.dataset.readings import read_units
from convscope.errors import ConvscopeError
from convscope.network.loading import Network

MOST = 4096


def pooled_features(
    net: Network,
    source: ImageSource,
    layers: Sequence[str],
    *,
    skipped: Told,
    most: int = MOST,
    batch: int = 16,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[list[str], dict[str, Float[np.ndarray, "n u"]]]:
    """The ids of a sample of the images, and their features by layer, float32: one pass for all layers.

    Raises:
        ConvscopeError: no such layer, no image that can be used, ``most`` below 1.
    """
    if most < 1:
        raise ConvscopeError(f"most={most}: take at least one image")
    every = sum(1 for _ in source.names())
    stride = -(-every // most)
    sampled = {name for number, name in enumerate(source.names()) if number % stride == 0}
    names: list[str] = []
    rows: dict[str, list[Float[np.ndarray, "b u"]]] = {layer: [] for layer in layers}
    told = FirstTold(skipped)
    for photos, maps in photo_passes(net, source, layers, batch=batch, skipped=told, wanted=sampled.__contains__):
        names += photos.names
        for layer, kept in rows.items():
            kept.append(read_units(maps[layer], photos.input_size, layer).pooled)
        if on_step is not None:
            on_step(len(names), len(sampled))
    if not names:
        raise told.nothing_left(source)
    return names, {layer: np.concatenate(kept) for layer, kept in rows.items()}
