"""A picture of one square a value, such as the weights of 1x1 filters, with numbers along its two sides."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from convscope.render.typography import GREY, INK, WHITE, font

_SIZE, _ROOM, _APART = 8.0, 30, 26  # points: of the type, left of the picture, between two numbers at least


def with_numbers(
    picture: Image.Image, rows: Sequence[int], columns: Sequence[int], *, across: str, down: str, pixel_ratio: int = 2
) -> Image.Image:
    """The picture, whose squares are ``rows`` x ``columns``, under the numbers of some columns and beside some rows'.

    ``across`` and ``down`` name the axes.
    """
    room, line = _ROOM * pixel_ratio, round(1.5 * _SIZE * pixel_ratio)
    left, top = room + line, 2 * line
    page = Image.new("RGB", (left + picture.width + room, top + picture.height), WHITE)
    page.paste(picture, (left, top))
    draw, face = ImageDraw.Draw(page), font(round(_SIZE * pixel_ratio))
    draw.text((left, 0.5 * line), across, font=face, fill=INK, anchor="lm")
    beside = Image.new("RGB", (max(1, round(face.getlength(down))), line), WHITE)
    ImageDraw.Draw(beside).text((0, 0.5 * line), down, font=face, fill=INK, anchor="lm")
    beside = beside.rotate(90, expand=True)
    page.paste(beside, (0, max(0, top + (picture.height - beside.height) // 2)))
    for place, number in _spread(columns, picture.width, _APART * pixel_ratio):
        draw.text((left + place, 1.5 * line), str(number), font=face, fill=GREY, anchor="mm")
    for place, number in _spread(rows, picture.height, line):
        draw.text((left - 4 * pixel_ratio, top + place), str(number), font=face, fill=GREY, anchor="rm")
    return page


def _spread(numbers: Sequence[int], length_px: int, apart_px: int) -> list[tuple[float, int]]:
    """(middle of its square, number), every 1st, 2nd, 4th, ... so that they stand apart."""
    each, step = length_px / len(numbers), 1
    while step * each < apart_px:
        step *= 2
    return [((i + 0.5) * each, numbers[i]) for i in range(0, len(numbers), step)]
