"""A page of points for many frames. Oracle: pixels."""

import numpy as np
import pytest
from PIL import ImageColor

from convscope.errors import ConvscopeError
from convscope.render.class_marks import COLOURS, SHAPES, UNNAMED
from convscope.render.moving_points import MOST_LISTED, PointsPage, legend, marks_by_class


def near(picture, colour: str) -> np.ndarray:
    """(x, y) of a class's pixels: marks are a quarter transparent."""
    seen = 0.75 * np.array(ImageColor.getrgb(colour)) + 0.25 * 255
    ys, xs = np.nonzero(np.abs(np.asarray(picture).astype(float) - seen).max(2) < 8)
    return np.stack([xs, ys], 1)


def test_each_point_lies_in_its_place_in_its_colour_and_moves() -> None:
    page = PointsPage(["cat", "dog", None], side=200, pixel_ratio=1)
    for points in ([[-0.5, 0.5], [0.5, 0.5], [0, -0.5]], [[0.5, -0.5], [-0.5, -0.5], [0, 0.5]]):
        picture = page.drawn(np.array(points))
        assert picture.size == (200, 200)
        for (x, y), colour in zip(points, (*COLOURS[:2], UNNAMED), strict=True):
            np.testing.assert_allclose(near(picture, colour).mean(0), [100 + 99 * x, 100 - 99 * y], atol=2)


def test_a_picture_knows_nothing_of_the_one_before() -> None:
    page = PointsPage(["a", "b"], side=100, pixel_ratio=1)
    first = page.drawn(np.array([[0.0, 0.0], [0.5, 0.5]]))
    page.drawn(np.array([[0.9, 0.0], [-0.5, 0.5]]))
    assert page.drawn(np.array([[0.0, 0.0], [0.5, 0.5]])).tobytes() == first.tobytes()


def test_letters_and_digits_mark_themselves_and_longer_names_do_not() -> None:
    """A 1 is higher than wide; a disc is as wide as high."""
    assert marks_by_class(["cat", None, "a"])["a"].shape in SHAPES
    assert marks_by_class(["7", "1"])["1"].colour == COLOURS[0]
    for name, is_narrow in (("1", True), ("one", False)):
        at = near(PointsPage([name], side=100, pixel_ratio=4).drawn(np.zeros((1, 2))), COLOURS[0])
        width, height = np.ptp(at, axis=0) + 1
        assert bool(height > 1.3 * width) is is_narrow


def test_the_legend_has_every_class_and_of_many_those_of_the_most_points() -> None:
    few, more = legend(["cat", "dog"]), legend(["cat", "dog", "hen", None])
    assert more.height > few.height
    many = [f"class {i:02d}" for i in range(60)] + ["class 59"]
    assert legend(many).size != legend(many[: MOST_LISTED - 5]).size
    legend(["$x$", " "])


def test_another_number_of_points_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="2 points was given 1"):
        PointsPage(["a", "b"]).drawn(np.zeros((1, 2)))
    with pytest.raises(ConvscopeError):
        PointsPage([])
