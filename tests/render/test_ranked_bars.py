"""Ranked bars: oracle, the pixels of the bars."""

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.ranked_bars import LINE, THICK, Bar, Panel, ranked_bars
from convscope.render.unit_colours import unit_colours

RED, BLUE = "#ff0000", "#0000ff"
RGB = {RED: (255, 0, 0), BLUE: (0, 0, 255)}


def extents(picture: Image.Image, colour: str) -> tuple[int, int, int]:
    """First column, last column, rows of a colour."""
    rows, columns = np.nonzero((np.asarray(picture) == RGB[colour]).all(2))
    return int(columns.min()), int(columns.max()), len(np.unique(rows))


def test_bars_are_as_long_as_their_values() -> None:
    left, right, rows = extents(ranked_bars([Panel("", (Bar("a", 4, RED), Bar("b", 1, BLUE)))], width=300), RED)
    start, end, _ = extents(ranked_bars([Panel("", (Bar("a", 4, RED), Bar("b", 1, BLUE)))], width=300), BLUE)
    assert left == start
    assert end - start == pytest.approx((right - left) / 4, abs=1)
    assert rows == 2 * THICK


def test_values_below_zero_run_to_the_left_from_one_line() -> None:
    picture = ranked_bars([Panel("", (Bar("a", 1, RED), Bar("b", -3, BLUE)))], width=300)
    (red, red_end, _), (blue, blue_end, _) = extents(picture, RED), extents(picture, BLUE)
    assert blue_end == pytest.approx(red, abs=3)
    assert blue_end - blue == pytest.approx(3 * (red_end - red), rel=0.05)


def test_panels_share_an_axis_unless_they_are_not_to() -> None:
    panels = [Panel("one", (Bar("a", 4, RED),)), Panel("two", (Bar("a", 1, BLUE),))]

    def lengths(picture: Image.Image) -> list[int]:
        return [extents(picture, c)[1] - extents(picture, c)[0] for c in (RED, BLUE)]

    red, blue = lengths(ranked_bars(panels))
    assert blue == pytest.approx(red / 4, abs=1)
    red, blue = lengths(ranked_bars(panels, shared=False))
    assert red == blue


def test_the_bars_of_a_row_begin_on_one_line_and_a_gap_takes_one() -> None:
    panels = [Panel("a title", (Bar("a", 1, RED),), "and a note"), Panel("", (None, Bar("a", 1, BLUE)))]
    picture = np.asarray(ranked_bars(panels))
    red, blue = (np.nonzero((picture == RGB[c]).all(2))[0].min() for c in (RED, BLUE))
    assert blue - red == 2 * LINE


def test_a_mark_lies_where_its_value_is() -> None:
    left, right, _ = extents(ranked_bars([Panel("", (Bar("", 4, RED),))], width=300), RED)
    marked = np.asarray(ranked_bars([Panel("", (Bar("", 4, RED, mark=1),))], width=300)).astype(int)
    plain = np.asarray(ranked_bars([Panel("", (Bar("", 4, RED),))], width=300)).astype(int)
    at = np.nonzero(np.abs(marked - plain).sum(2))[1]
    assert at.min() == pytest.approx(left + (right - left) / 4, abs=2)
    assert at.max() - at.min() <= 2


def test_the_smallest_bar_is_seen_and_zero_is_not() -> None:
    picture = ranked_bars([Panel("", (Bar("a", 1e6, RED), Bar("b", 1, BLUE)))])
    assert extents(picture, BLUE)[0] == extents(picture, BLUE)[1]
    none = np.asarray(ranked_bars([Panel("", (Bar("a", 1, RED), Bar("b", 0, BLUE)))]))
    assert not (none == RGB[BLUE]).all(2).any()


def test_refusals() -> None:
    with pytest.raises(ConvscopeError, match="at least one panel"):
        ranked_bars([])
    with pytest.raises(ConvscopeError, match="NaN or infinite"):
        ranked_bars([Panel("", (Bar("a", float("nan")),))])


def test_colours_are_far_apart_and_the_same_whatever_the_count() -> None:
    """Oracle: distances in OKLab, by its published matrices, of the colours as they are written."""
    few, many = unit_colours(8), unit_colours(600)
    assert many[:8] == few
    assert len(set(many[:300])) > 295
    lab = np.array([_oklab(colour) for colour in few])
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)[~np.eye(8, dtype=bool)]
    assert apart.min() > 0.1  # a just noticeable difference is about 0.02
    assert set(np.round([_oklab(colour)[0] for colour in many[:3]], 2)) == {0.62, 0.47, 0.75}


def _oklab(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
             [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
           [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip
    return np.array(lab) @ np.cbrt(np.array(cones) @ linear)
