"""Which part of an image is cut: against every window that there is, and the pixels themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convscope.dataset.patch_boxes import WHOLE_FROM, cut, inside, window_around, window_side
from convscope.errors import ConvscopeError
from convscope.network.receptive_fields import Box


@st.composite
def boxes_in_images(draw: st.DrawFn) -> tuple[Box, tuple[int, int]]:
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    ys, xs = (sorted((draw(st.integers(0, side - 1)), draw(st.integers(1, side)))) for side in size)
    y0, x0 = min(ys[0], size[0] - 1), min(xs[0], size[1] - 1)
    return Box(y0, x0, max(ys[1], y0 + 1), max(xs[1], x0 + 1)), size


def _nearest_to_the_middle(start: int, end: int, length: int, side: int) -> int:
    """Of every place of a window in the image the one whose middle lies nearest to the box's, the first of two."""
    side = min(side, length)
    return min(range(length - side + 1), key=lambda first: abs((2 * first + side) - (start + end)))


@given(boxes_in_images(), st.integers(1, 60))
def test_a_window_is_the_one_nearest_to_the_box_of_all_there_are(found: tuple[Box, tuple[int, int]], more: int) -> None:
    box, size = found
    side = max(box.y1 - box.y0, box.x1 - box.x0) + more - 1
    window = window_around(box, size, side)
    if side * side > WHOLE_FROM * size[0] * size[1]:
        assert window == (0, 0, *size)
        return
    assert window.y0 == _nearest_to_the_middle(box.y0, box.y1, size[0], side)
    assert window.x0 == _nearest_to_the_middle(box.x0, box.x1, size[1], side)
    assert (window.y1 - window.y0, window.x1 - window.x0) == (min(side, size[0]), min(side, size[1]))


@given(boxes_in_images(), st.integers(0, 60))
def test_the_place_of_a_box_in_its_window_holds_the_same_pixels(found: tuple[Box, tuple[int, int]], more: int) -> None:
    box, size = found
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    window = window_around(box, size, max(box.y1 - box.y0, box.x1 - box.x0) + more)
    place = inside(box, window)
    assert np.array_equal(cut(cut(pixels, window), place), cut(pixels, box))
    loop = np.array([[pixels[y, x] for x in range(box.x0, box.x1)] for y in range(box.y0, box.y1)])
    assert np.array_equal(cut(pixels, box), loop)


def test_windows_of_a_layer_are_three_times_its_largest_box_and_never_below_32_pixels() -> None:
    assert window_side([Box(0, 0, 4, 7), Box(3, 3, 10, 10)]) == 32
    assert window_side([Box(0, 0, 19, 19), Box(0, 0, 19, 12)]) == 57
    assert window_around(Box(100, 100, 119, 119), (224, 224), 57) == (81, 81, 138, 138)
    assert window_around(Box(0, 210, 19, 224), (224, 224), 57) == (0, 167, 57, 224)  # moved, not cut
    assert window_around(Box(0, 0, 59, 59), (224, 224), 177) == (0, 0, 224, 224)  # more than half of it


@pytest.mark.parametrize("box", [Box(0, 0, 0, 0), Box(0, 0, 5, 9), Box(-1, 0, 3, 3), Box(2, 2, 2, 4)])
def test_a_box_of_another_image_is_refused(box: Box) -> None:
    with pytest.raises(ConvscopeError, match=r"does not lie in an image of 8 x 8 pixels: it was made with another"):
        cut(np.zeros((8, 8, 3), np.uint8), box)
