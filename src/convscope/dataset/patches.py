"""The winners' pictures: for every exemplar its crop and the view around it, cut from what the network was shown.

The pixels are those of the network's input, after resizing and cropping, with the normalisation undone: to the last
bit where the preprocessing is known (``Preprocess.inverse``), else the input drawn from its smallest to its largest
value. Which part is cut is the matter of ``patch_boxes``.

Winners are grouped by their image, so that each photo is read once, and a region that several units won is stored
once. Pictures are WebP under the name of their content: without loss up to ``LOSSLESS_PX`` pixels, where a byte of
error would show, at quality 85 beyond. Hence the same winners give the same files, and a second run writes none.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from convscope.answers import Seen
from convscope.dataset.patch_boxes import cut, inside, window_around, window_side
from convscope.dataset.threads import in_order, one_thread_each
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from convscope.network.receptive_fields import Box

CROP, CONTEXT = "crop", "context"
LOSSLESS_PX = 48 * 48  # of more the loss is not seen, and the file a fourth

Keep = Callable[[bytes], str]  # stores an encoded picture, and names it


@runtime_checkable
class Photos(Protocol):
    """What is needed of a source of images."""

    def read(self, name: str, /) -> Any:
        """The image of that name, as ``.image``."""
        ...


@dataclass(frozen=True)
class Winner:
    """One exemplar: ``unit`` of ``layer`` is of ``rank`` (0 the strongest) with ``value`` at (y, x) of ``image``."""

    layer: str
    unit: int
    rank: int
    image: str
    box: Box
    value: float
    y: int
    x: int


@dataclass(frozen=True)
class PictureRow:
    """A stored picture of a winner, ``size`` (height, width); (y, x) is where the receptive box begins in it."""

    layer: str
    unit: int
    rank: int
    kind: str
    file: str
    size: tuple[int, int]
    y: int = 0
    x: int = 0


def input_pixels(net: Network, photo: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    """What the network is shown of a photo, pixel by pixel of its input."""
    if not isinstance(net.preprocess, Preprocess):
        return np.asarray(Seen(net, photo).view.convert("RGB"))
    shown = net.preprocess.inverse(net.preprocess(photo))[0]
    levels = (255 * shown).round().byte().permute(1, 2, 0).numpy()
    return np.repeat(levels, 3 // levels.shape[2], axis=2)


def encoded(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """As WebP; without loss where the picture is small."""
    content = io.BytesIO()
    is_small = pixels.shape[0] * pixels.shape[1] <= LOSSLESS_PX
    how: dict[str, Any] = {"lossless": True, "quality": 0, "method": 0} if is_small else {"quality": 85, "method": 2}
    Image.fromarray(pixels).save(content, "WEBP", **how)
    return content.getvalue()


def cut_winners(
    net: Network,
    source: Photos,
    winners: Iterable[Winner],
    keep: Keep,
    *,
    threads: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> list[PictureRow]:
    """Crop and context of every winner, stored; rows in the order of the winners, the crop first.

    Args:
        net: whose input is cut.
        source: the images; each is read once.
        winners: as the reducer found them; memory goes with their number, not with that of the images.
        keep: stores an encoded picture and names it; called from several threads.
        threads: photos at once; None is the number of cores.
        on_step: called with (done, all) photos.

    Raises:
        ConvscopeError: an image that is no longer there, or that is another than the survey saw.
    """
    found = list(winners)
    sides = _window_sides(found)
    of_image: dict[str, list[int]] = {}
    for number, winner in enumerate(found):
        of_image.setdefault(winner.image, []).append(number)
    rows: list[tuple[PictureRow, PictureRow] | None] = [None] * len(found)
    groups = list(of_image.values())

    def cut_of(numbers: list[int]) -> list[tuple[PictureRow, PictureRow]]:
        return _cut_image(net, source, [found[number] for number in numbers], sides, keep)

    with one_thread_each():
        for done, (numbers, pairs) in enumerate(zip(groups, in_order(groups, cut_of, threads), strict=True), 1):
            for number, pair in zip(numbers, pairs, strict=True):
                rows[number] = pair
            if on_step is not None:
                on_step(done, len(groups))
    return [row for pair in rows for row in pair or ()]


def _window_sides(winners: Sequence[Winner]) -> dict[str, int]:
    """Layer -> the side of its contexts."""
    boxes: dict[str, set[Box]] = {}
    for winner in winners:
        boxes.setdefault(winner.layer, set()).add(winner.box)
    return {layer: window_side(of_layer) for layer, of_layer in boxes.items()}


def _cut_image(
    net: Network, source: Photos, winners: Sequence[Winner], sides: dict[str, int], keep: Keep
) -> list[tuple[PictureRow, PictureRow]]:
    """Both pictures of all winners of one image."""
    pixels = input_pixels(net, source.read(winners[0].image).image)
    size, names = pixels.shape[:2], dict[Box, str]()

    def row(one: Winner, kind: str, part: Box) -> PictureRow:
        if part not in names:
            names[part] = keep(encoded(cut(pixels, part)))
        place = inside(one.box, part)
        shape = part.y1 - part.y0, part.x1 - part.x0
        return PictureRow(one.layer, one.unit, one.rank, kind, names[part], shape, place.y0, place.x0)

    def pair(one: Winner) -> tuple[PictureRow, PictureRow]:
        window = window_around(one.box, (size[0], size[1]), sides[one.layer])
        return row(one, CROP, one.box), row(one, CONTEXT, window)

    return [pair(one) for one in winners]
