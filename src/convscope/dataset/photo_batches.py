"""A data set's photos through some layers, batch after batch, for whoever runs a pass of his own over them.

The images come in their order and keep their numbers, whatever is left out: what cannot be read, and what the network's
preprocessing or the network itself refuses, is told to ``skipped`` with its reason. Photos of another input size begin
a new batch. A batch that is refused is shown photo by photo, and one for which memory is too small in halves
(``room``). A network that is always shown the same size, and does not take it, takes no photo at all: that is an error.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from convscope.answers import InputRefusedError, refusing_input
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.photo_inputs import photo_input
from convscope.dataset.readings import unit_maps
from convscope.dataset.room import NoRoomError, Room
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.passes import outputs_of

Told = Callable[[str, str], None]


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


LayerPass = tuple[PhotoBatch, dict[str, Tensor]]
Reader = Callable[[Network, PhotoBatch, Sequence[str]], dict[str, Tensor]]


class FirstTold:
    """Tells of what is left out, and keeps the first reason, for the case that nothing is left."""

    def __init__(self, told: Told) -> None:
        self.told, self.name, self.first = told, "", ""

    def __call__(self, name: str, why: str) -> None:
        """One more."""
        if not self.first:
            self.name, self.first = name, why
        self.told(name, why)

    def nothing_left(self, source: ImageSource) -> ConvscopeError:
        """The refusal of data of which no photo can be used."""
        none = f"none of the {source.line()} can be used"
        return ConvscopeError(f"{none}; the first, {self.name}: {self.first}" if self.first else none)


@dataclass(frozen=True, eq=False)
class _Photo:
    number: int
    name: str
    size: tuple[int, int]
    x: Tensor


def photo_passes(
    net: Network,
    source: ImageSource,
    layers: Sequence[str],
    *,
    batch: int,
    skipped: Told,
    wanted: Callable[[str], bool] | None = None,
    on_image: Callable[[], None] = lambda: None,
    read: "Reader | None" = None,
) -> Iterator[LayerPass]:
    """At most ``batch`` photos at a time, and what the layers give for them, as ``layer_maps``.

    Args:
        net: whose preprocessing makes the input.
        source: the images.
        layers: names; ``relu#2`` for the second call of a module.
        batch: how many go through the network together.
        skipped: told (id, reason) of what is left out.
        wanted: of an id, whether to read the photo at all; None reads all.
        on_image: called once an image, read or not.
        read: what to read of a batch, given as (net, batch, layers), in place of ``layer_maps``.

    Raises:
        ConvscopeError: one photo for which memory is too small, a network that does not take the one size that all its
            photos have, no such layer.
    """

    def work(photos: Sequence[_Photo]) -> LayerPass:
        together = _together(net, photos)
        return together, (read or layer_maps)(net, together, layers)

    room = Room(work, batch, at_once=1)
    for photos in _batches(_photos(net, source, skipped, wanted, on_image), batch):
        yield from _shown(net, photos, room, skipped)


def layer_maps(net: Network, photos: PhotoBatch, layers: Sequence[str]) -> dict[str, Float[Tensor, "b u h w"]]:
    """What the layers give for a batch, as maps, in float32."""
    with refusing_input(net, photos.x):
        outputs = outputs_of(net.module, photos.x, *layers)
        return {layer: unit_maps(outputs[layer], photos.input_size, layer).float() for layer in layers}


def _photos(
    net: Network,
    source: ImageSource,
    skipped: Told,
    wanted: Callable[[str], bool] | None,
    on_image: Callable[[], None],
) -> Iterator[_Photo]:
    for number, name in enumerate(source.names()):
        on_image()
        if wanted is not None and not wanted(name):
            continue
        try:
            image = source.read(name).image
            yield _Photo(number, name, image.size, photo_input(net, image))
        except ConvscopeError as error:
            skipped(name, str(error))
        except NoRoomError as error:
            raise ConvscopeError(f"not enough memory to read {name}") from error


def _batches(photos: Iterator[_Photo], batch: int) -> Iterator[list[_Photo]]:
    """In a row, of one input size."""
    waiting: list[_Photo] = []
    for photo in photos:
        if waiting and (len(waiting) == batch or waiting[0].x.shape != photo.x.shape):
            yield waiting
            waiting = []
        waiting.append(photo)
    if waiting:
        yield waiting


def _shown(net: Network, photos: Sequence[_Photo], room: Room[_Photo, LayerPass], skipped: Told) -> Iterator[LayerPass]:
    """The passes of photos of one size; where the network refuses them, each is asked for by itself."""
    done = 0
    try:
        for some, maps in room.each(photos):
            done += len(some.numbers)
            yield some, maps
        return
    except NoRoomError as error:
        size = " x ".join(map(str, photos[done].x.shape[1:]))
        why = f"not enough memory for {net.name} on one image of {size}; give a smaller input (--size)"
        raise ConvscopeError(why) from error
    except InputRefusedError as error:
        if net.always_one_size:
            raise
        if len(photos) == 1:
            return skipped(photos[0].name, str(error))
    for photo in photos[done:]:
        yield from _shown(net, [photo], room, skipped)


def _together(net: Network, photos: Sequence[_Photo]) -> PhotoBatch:
    x = torch.cat([photo.x for photo in photos]).to(net.precision)
    numbers, names, sizes = zip(*((photo.number, photo.name, photo.size) for photo in photos), strict=True)
    return PhotoBatch(numbers, names, sizes, x)
