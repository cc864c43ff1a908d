"""What stands round the tiles of a sheet or a grid: title above, one colour bar for them all and the stamp below."""

from PIL import Image, ImageDraw

from convscope.render.colour_bar import ColourBar, bar_picture
from convscope.render.tile import column_of, fit
from convscope.render.typography import FAINT, GREY, WHITE, Type, text_block

TITLE, SUBTITLE = Type(19.0, bold=True, lines=3), Type(12.0, GREY, lines=4)
FOOTER, SAID = Type(9.0, GREY, lines=12), Type(10.5, GREY, lines=2)
MARGIN = 28  # points
_PHOTO_SIDE, _LEAST_WIDTH, _BAR_WIDTH = 76, 560, 320  # points: the page is wide enough for its title


def blank(width_px: int, height_px: int) -> Image.Image:
    """White."""
    return Image.new("RGB", (width_px, height_px), WHITE)


def head(
    title: str, subtitle: str, width_px: int, *, pixel_ratio: int, photo: Image.Image | None = None
) -> Image.Image:
    """Title and subtitle, beside a small photo if there is one; 0 high without any."""
    beside = 0 if photo is None else (_PHOTO_SIDE + 14) * pixel_ratio
    column = column_of(
        text_block(title, width_px - beside, TITLE, pixel_ratio=pixel_ratio),
        text_block(subtitle, width_px - beside, SUBTITLE, pixel_ratio=pixel_ratio),
        gap_px=3 * pixel_ratio,
    )
    if photo is not None:
        small = fit(photo, _PHOTO_SIDE * pixel_ratio)
        both = blank(width_px, max(small.height, column.height))
        both.paste(small, (0, 0))
        both.paste(column, (beside, 0))
        column = both
    return column_of(column, blank(width_px, 16 * pixel_ratio)) if column.height else column


def shared_bar(bar: ColourBar, width_px: int, *, pixel_ratio: int, said: str = "One scale for all maps") -> Image.Image:
    """One colour bar for everything above it, under the words that say so."""
    text = text_block(said, width_px, SAID, pixel_ratio=pixel_ratio)
    return column_of(text, bar_picture(bar, width_px, pixel_ratio=pixel_ratio), gap_px=3 * pixel_ratio)


def foot(footer: str, width_px: int, *, pixel_ratio: int) -> Image.Image:
    """Small grey text below a rule; 0 high without text."""
    text = text_block(footer, width_px, FOOTER, pixel_ratio=pixel_ratio)
    if not text.height:
        return text
    rule = blank(width_px, 24 * pixel_ratio)
    y = 16 * pixel_ratio
    ImageDraw.Draw(rule).rectangle((0, y, width_px, y + pixel_ratio - 1), fill=FAINT)
    return column_of(rule, text)


def framed(content: Image.Image, *, pixel_ratio: int) -> Image.Image:
    """The content with a white margin."""
    margin = MARGIN * pixel_ratio
    page = blank(content.width + 2 * margin, content.height + 2 * margin)
    page.paste(content, (margin, margin))
    return page


def page(
    body: Image.Image,
    *,
    title: str = "",
    subtitle: str = "",
    footer: str = "",
    bar: ColourBar | None = None,
    said: str = "One scale for all maps",
    photo: Image.Image | None = None,
    pixel_ratio: int = 2,
) -> Image.Image:
    """The body with all that stands round it; ``said`` over the colour bar, ``photo`` small beside the title."""
    width = max(body.width, _LEAST_WIDTH * pixel_ratio)
    blocks = [head(title, subtitle, width, pixel_ratio=pixel_ratio, photo=photo), body]
    if bar is not None:
        below = shared_bar(bar, min(width, _BAR_WIDTH * pixel_ratio), pixel_ratio=pixel_ratio, said=said)
        blocks += [blank(width, 16 * pixel_ratio), below]
    return framed(column_of(*blocks, foot(footer, width, pixel_ratio=pixel_ratio)), pixel_ratio=pixel_ratio)
