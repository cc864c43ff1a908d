"""One picture of a sheet: its caption, its image at the tile's width, its colour bar, and what is to be warned of."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from convscope.errors import ConvscopeError
from convscope.render.colour_bar import ColourBar, bar_picture
from convscope.render.typography import GREY, INK, WHITE, Type, text_block

CAPTION, NOTE = Type(12.5, bold=True, lines=2), Type(10.5, GREY, lines=2)
WARNING, ABSENT = Type(10.5, INK, lines=5), Type(11.0, GREY, lines=9)
_EMPTY = "#f1f3f5"


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet and what is said about it.

    ``image``: a Pillow image or uint8 (H, W, 3); None leaves a grey field, for a method that does not apply.
    ``warning``: printed on the picture, e.g. ``"zero map: every gradient at layer4 is 0"``. ``pixels``: enlarged with
    its pixels left visible (gradients), not smoothly (photos, heat).
    """

    image: Image.Image | np.ndarray | None
    caption: str = ""
    note: str = ""
    bar: ColourBar | None = None
    warning: str = ""
    pixels: bool = False


def header(tile: Tile, width_px: int, pixel_ratio: int) -> Image.Image:
    """Caption and note, one above the other; 0 high without either."""
    caption = text_block(tile.caption, width_px, CAPTION, pixel_ratio=pixel_ratio)
    return column_of(caption, text_block(tile.note, width_px, NOTE, pixel_ratio=pixel_ratio))


def picture(tile: Tile, width_px: int, pixel_ratio: int) -> Image.Image:
    """The image on ``width_px`` pixels, with the warning on it; a higher one than wide is centred in a square."""
    if tile.image is None:
        square = Image.new("RGB", (width_px, width_px), _EMPTY)
        return _with_text(square, tile.warning, ABSENT, _EMPTY, pixel_ratio)
    fitted = fit(as_image(tile.image), width_px, pixels=tile.pixels)
    return _with_text(fitted, tile.warning, WARNING, WHITE, pixel_ratio) if tile.warning else fitted


def body(tile: Tile, width_px: int, pixel_ratio: int) -> Image.Image:
    """The picture and its colour bar below it."""
    image = picture(tile, width_px, pixel_ratio)
    if tile.bar is None:
        return image
    return column_of(image, bar_picture(tile.bar, width_px, pixel_ratio=pixel_ratio), gap_px=6 * pixel_ratio)


def column_of(*blocks: Image.Image, gap_px: int = 0) -> Image.Image:
    """Blocks below one another on white, at the left, ``gap_px`` between those that are not empty."""
    blocks = tuple(block for block in blocks if block.height) or blocks[:1]
    height = sum(block.height for block in blocks) + gap_px * (len(blocks) - 1)
    column = Image.new("RGB", (max(block.width for block in blocks), height), WHITE)
    y = 0
    for block in blocks:
        column.paste(block, (0, y))
        y += block.height + gap_px
    return column


def row_of(*blocks: Image.Image, gap_px: int = 0) -> Image.Image:
    """Blocks beside one another on white, at the top, ``gap_px`` between them."""
    width = sum(block.width for block in blocks) + gap_px * (len(blocks) - 1)
    row, x = Image.new("RGB", (width, max(block.height for block in blocks)), WHITE), 0
    for block in blocks:
        row.paste(block, (x, 0))
        x += block.width + gap_px
    return row


def as_image(image: Image.Image | np.ndarray) -> Image.Image:
    """Of a Pillow image or uint8 (H, W, 3). Raises :class:`ConvscopeError` for other arrays."""
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ConvscopeError(f"a tile shows uint8 of shape (H, W, 3), not {image.dtype} of {image.shape}; colourise it")
    return Image.fromarray(image)


def fit(image: Image.Image, side_px: int, *, pixels: bool = False) -> Image.Image:
    """The image in a square of that side, smoothly or with its pixels left visible; a high one is centred on white."""
    share = side_px / max(image.size)
    size = max(1, round(share * image.width)), max(1, round(share * image.height))
    if pixels and share > 1:
        # whole pixels first, so that all have one width, then brought to size with edges a pixel soft
        whole = -(-side_px // max(image.size))
        image = image.resize((whole * image.width, whole * image.height), Image.Resampling.NEAREST)
        image = image.resize(size, Image.Resampling.BILINEAR)
    else:
        image = image.resize(size, Image.Resampling.LANCZOS)
    if image.width == side_px:
        return image
    square = Image.new("RGB", (side_px, image.height), WHITE)
    square.paste(image, ((side_px - image.width) // 2, 0))
    return square


def _with_text(image: Image.Image, text: str, type_: Type, ground: str, pixel_ratio: int) -> Image.Image:
    """``text`` on a panel in the middle of the image."""
    pad = min(9 * pixel_ratio, image.width // 20)
    block = text_block(text, image.width - 6 * pad, type_, pixel_ratio=pixel_ratio, align="centre", ground=ground)
    x, y = (image.width - block.width) // 2, (image.height - block.height) // 2
    box = (x - pad, y - pad, x + block.width + pad, y + block.height + pad)
    image = image.copy()
    ImageDraw.Draw(image).rounded_rectangle(box, radius=5 * pixel_ratio, fill=ground)
    image.paste(block, (x, y))
    return image
