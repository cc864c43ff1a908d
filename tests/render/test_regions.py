"""Regions on photos. Oracle: pixels by hand."""

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.regions import DARK, LIGHT, OUTLINE, dashed_on, region_on

WHITE = Image.new("RGB", (40, 30), "white")


def square(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    region = np.zeros((30, 40), bool)
    region[y0:y1, x0:x1] = True
    return region


def test_the_inside_keeps_its_colours_the_outside_is_darkened_and_the_outline_closes() -> None:
    pixels = np.asarray(region_on(WHITE, square(5, 20, 10, 40)))  # reaches the right edge
    region = square(5, 20, 10, 40)
    outline = (pixels == OUTLINE).all(2)
    np.testing.assert_array_equal(outline, region & ~square(7, 18, 12, 38))
    assert (pixels[square(7, 18, 12, 38)] == 255).all()
    assert (pixels[~square(4, 21, 9, 40)] == round(0.42 * 255)).all()
    assert (pixels[square(4, 21, 9, 40) & ~region] == DARK).all()


def test_the_other_region_is_dashed_and_lies_below_the_outline() -> None:
    region, other = square(0, 3, 0, 3), square(8, 28, 8, 38)
    pixels = np.asarray(region_on(WHITE, region, other))
    border = other & ~square(10, 26, 10, 36)
    light, dark = (pixels == LIGHT).all(2) & border, (pixels == DARK).all(2) & border
    assert light.sum() + dark.sum() == border.sum()
    assert min(light.sum(), dark.sum()) > 0.35 * border.sum()


def test_nothing_above_the_level_is_a_dark_photo() -> None:
    assert set(np.asarray(region_on(WHITE, square(0, 0, 0, 0))).ravel()) == {round(0.42 * 255)}


def test_a_region_of_another_size_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="3 x 2 pixels does not lie on a photo of 40 x 30"):
        region_on(WHITE, np.zeros((2, 3), bool))


def test_a_region_is_dashed_and_nothing_else_is_changed() -> None:
    region = square(8, 28, 8, 38)
    pixels = np.asarray(dashed_on(Image.new("RGB", (40, 30), "red"), region))
    border = region & ~square(10, 26, 10, 36)
    is_light, is_dark = ((pixels == colour).all(2) for colour in (LIGHT, DARK))
    np.testing.assert_array_equal(is_light | is_dark, border)
    assert is_light.sum() > 50
    assert is_dark.sum() > 50
    assert (pixels[~border] == (255, 0, 0)).all()
    with pytest.raises(ConvscopeError, match="does not lie on a photo"):
        dashed_on(WHITE, region[1:])
