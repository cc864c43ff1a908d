"""A data set's photos as network input, batch after batch, for whoever runs a pass of his own over them.

The images come in their order and keep their numbers, whatever is left out: what cannot be read, and what the network's
preprocessing refuses, is told to ``skipped`` with its reason. Photos of another input size begin a new batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from convscope.dataset.image_sources import ImageSource
from convscope.errors import ConvscopeError
from convscope.network.loading import Network


@dataclass(frozen=True, eq=False)
class PhotoBatch:
    """Some photos: their numbers and ids in the data, their (width, height), and what the network is given."""

    numbers: tuple[int, ...]
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    x: Float[Tensor, "b c h w"]

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the network's input."""
        return self.x.shape[-2], self.x.shape[-1]


@dataclass(frozen=True, eq=False)
class _Photo:
    number: int
    name: str
    size: tuple[int, int]
    x: Tensor


def photo_batches(
    net: Network,
    source: ImageSource,
    *,
    batch: int,
    skipped: Callable[[str, str], None],
    wanted: Callable[[str], bool] | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> Iterator[PhotoBatch]:
    """At most ``batch`` photos at a time.

    Args:
        net: whose preprocessing makes the input.
        source: the images.
        batch: how many go through the network together.
        skipped: told (id, reason) of what is left out.
        wanted: of an id, whether to read the photo at all; None reads all.
        on_image: called once an image, read or not.
    """
    waiting: list[_Photo] = []
    for number, name in enumerate(source.names()):
        on_image()
        photo = _read(net, source, number, name, skipped) if wanted is None or wanted(name) else None
        if photo is None:
            continue
        if waiting and (len(waiting) == batch or waiting[0].x.shape != photo.x.shape):
            yield _together(waiting)
            waiting = []
        waiting.append(photo)
    if waiting:
        yield _together(waiting)


def _read(
    net: Network, source: ImageSource, number: int, name: str, skipped: Callable[[str, str], None]
) -> _Photo | None:
    try:
        image = source.read(name).image
        return _Photo(number, name, image.size, net.input_of(image))
    except ConvscopeError as error:
        skipped(name, str(error))
        return None


def _together(photos: list[_Photo]) -> PhotoBatch:
    numbers, names, sizes = zip(*((photo.number, photo.name, photo.size) for photo in photos), strict=True)
    return PhotoBatch(numbers, names, sizes, torch.cat([photo.x for photo in photos]))
