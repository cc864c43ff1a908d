"""Points by class, and the same page in thumbnails. Oracles: pixels' colours, geometry by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from convscope.errors import ConvscopeError
from convscope.render.class_marks import COLOURS, SHAPES, UNNAMED, marks_of
from convscope.render.scatter import apart, placed, scatter
from convscope.render.thumbnail_map import cells_for, one_a_cell, thumbnail_map


def rgb(colour: str) -> np.ndarray:
    return np.array(ImageColor.getrgb(colour))


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour) / 255]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_42_classes_have_marks_of_their_own_and_the_first_seven_colours() -> None:
    marks = marks_of(50)
    assert len(set(marks[:42])) == 42
    assert [mark.colour for mark in marks[:7]] == list(COLOURS)
    assert marks[42] == marks[0]
    assert marks_of(3) == marks[:3]
    assert all(mark.shape in SHAPES for mark in marks)


def test_every_colour_can_be_seen_on_white() -> None:
    """Contrast of at least 1.9 for areas; the class's name, in its colour, has its place as a second sign."""
    assert all(1.05 / (luminance(colour) + 0.05) > 1.9 for colour in COLOURS)


def test_points_lie_in_their_places_in_their_colours() -> None:
    points = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 5.0]])
    picture = np.asarray(scatter(points, ["b", "a", None], side=300, pixel_ratio=2))
    assert picture.shape == (600, 600, 3)
    at = placed(points, 300)
    np.testing.assert_allclose(at, [[22, 214], [278, 214], [22, 86]])
    for (x, y), colour in zip(at[2:], [UNNAMED], strict=True):
        assert np.abs(picture[round(2 * y), round(2 * x)].astype(int) - rgb(colour)).max() < 12
    # names stand on the points of classes of one: their letters are in their colours
    for name, (x, y) in (("b", at[0]), ("a", at[1])):
        near = picture[round(2 * y) - 14 : round(2 * y) + 14, round(2 * x) - 14 : round(2 * x) + 14].reshape(-1, 3)
        wanted = rgb(COLOURS["ab".index(name)])
        assert (np.abs(near.astype(int) - wanted).max(1) < 6).any()


def test_both_axes_have_one_scale_and_y_points_up() -> None:
    at = placed(np.array([[0.0, 0.0], [4.0, 1.0]]), 100, 10)
    np.testing.assert_allclose(at, [[10, 60], [90, 40]])
    np.testing.assert_allclose(placed(np.zeros((2, 2)), 100), 50)


BOX = st.tuples(*[st.floats(0, 300)] * 2, st.floats(10, 60), st.floats(8, 12))


@settings(max_examples=60)
@given(st.lists(BOX, min_size=1, max_size=10))
def test_names_do_not_lie_over_one_another_nor_leave_the_page(boxes: list[tuple[float, ...]]) -> None:
    middles, sizes = np.array(boxes)[:, :2], np.array(boxes)[:, 2:]
    at = apart(middles, sizes, 300.0)
    assert (at >= sizes / 2 - 1e-9).all()
    assert (at <= 300 - sizes / 2 + 1e-9).all()
    over = (sizes[:, None] + sizes[None]) / 2 - np.abs(at[:, None] - at[None])
    np.fill_diagonal(over[..., 0], -1)
    assert over.min(2).max(initial=-1) < 1.0


def test_a_name_with_room_stays_where_it_is() -> None:
    middles = np.array([[50.0, 50.0], [200.0, 120.0]])
    np.testing.assert_allclose(apart(middles, np.full((2, 2), 20.0), 300.0), middles, atol=2e-3)


@pytest.mark.parametrize(
    ("points", "classes"), [(np.zeros((0, 2)), []), (np.array([[np.nan, 0.0]]), ["a"]), (np.zeros((2, 2)), ["a"])]
)
def test_refusals(points: np.ndarray, classes: list[str]) -> None:
    with pytest.raises(ConvscopeError, match="finite points and a class for each"):
        scatter(points, classes)


def test_one_picture_a_cell_the_one_nearest_to_its_middle() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 2))
    shown = one_a_cell(points, 12)
    at = placed(points, 12.0, 0.5)
    cells = [(int(y), int(x)) for x, y in np.floor(at)]
    assert [(each.row, each.column) for each in shown] == sorted(set(cells))
    for each in shown:
        rivals = [i for i, cell in enumerate(cells) if cell == (each.row, each.column)]
        middle = (each.column + 0.5, each.row + 0.5)
        off = {i: float(((at[i] - middle) ** 2).sum()) for i in rivals}
        assert off[each.point] == min(off.values())


def test_thumbnails_stand_in_their_cells_above_the_line_of_their_class() -> None:
    points = np.array([[0.0, 0.0], [1.0, 1.0]])
    shown = one_a_cell(points, 10)
    red = Image.new("RGB", (8, 4), "red")
    page = np.asarray(thumbnail_map(shown, {0: red}, ["a", None], 10, side=100, pixel_ratio=1))
    assert tuple(page[94, 5]) == (255, 0, 0)  # bottom left: y points up
    assert tuple(page[98, 5]) == tuple(rgb(COLOURS[0]))
    assert tuple(page[4, 95]) == tuple(rgb("#e9ecef"))  # no picture
    assert tuple(page[8, 95]) == tuple(rgb(UNNAMED))
    assert (page[20:80, 20:80] == 255).all()


def test_cells_grow_with_the_points_up_to_what_can_be_seen() -> None:
    assert [cells_for(count) for count in (1, 100, 10_000)] == [10, 15, 26]
