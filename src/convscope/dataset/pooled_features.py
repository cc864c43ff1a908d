"""Pooled features straight from photos: the mean of every unit of a layer over its map, one row an image.

As a survey keeps them: of at most ``most`` images, those whose number is a multiple of ceil(n / most), so that the
sample is spread over all folders. What cannot be read is left out and told, and so is an image with a feature that is
NaN or infinite, which would have no place on any page.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float

from convscope.dataset.dissecting import layer_maps
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.photo_batches import photo_batches
from convscope.errors import ConvscopeError
from convscope.network.loading import Network

MOST = 4096


def pooled_features(
    net: Network,
    source: ImageSource,
    layer: str,
    *,
    skipped: Callable[[str, str], None],
    most: int = MOST,
    batch: int = 16,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[list[str], Float[np.ndarray, "n u"]]:
    """The ids of a sample of the images, and their features, float32.

    Raises:
        ConvscopeError: no such layer, no image that can be used, ``most`` below 1.
    """
    if most < 1:
        raise ConvscopeError(f"most={most}: take at least one image")
    every = sum(1 for _ in source.names())
    stride = -(-every // most)
    sampled = {name for number, name in enumerate(source.names()) if number % stride == 0}
    names: list[str] = []
    rows: list[Float[np.ndarray, "b u"]] = []
    for photos in photo_batches(net, source, batch=batch, skipped=skipped, wanted=sampled.__contains__):
        pooled = layer_maps(net, photos, [layer])[layer].double().mean((2, 3)).float().cpu()
        finite = torch.isfinite(pooled).all(1)
        for name in (name for name, fine in zip(photos.names, finite.tolist(), strict=True) if not fine):
            skipped(name, f"layer {layer!r} gives activations that are NaN or infinite")
        names += [name for name, fine in zip(photos.names, finite.tolist(), strict=True) if fine]
        rows.append(pooled[finite].numpy())
        if on_step is not None:
            on_step(len(names), len(sampled))
    if not names:
        raise ConvscopeError(f"none of the {source.line()} can be used")
    return names, np.concatenate(rows)
