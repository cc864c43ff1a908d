"""Numbers along the sides of a matrix. Oracles: the picture is there untouched; ink where a number is due."""

import numpy as np
from PIL import Image

from convscope.render.numbered_axes import with_numbers


def test_the_matrix_is_untouched_and_numbers_stand_beside_and_above() -> None:
    pixels = np.random.default_rng(0).integers(0, 90, (64, 128, 3), dtype=np.uint8)
    page = np.asarray(with_numbers(Image.fromarray(pixels), range(8), range(16), across="input", down="unit"))
    top, left = page.shape[0] - 64, page.shape[1] - 128 - 60  # the room on the right is that on the left
    np.testing.assert_array_equal(page[top:, left : left + 128], pixels)
    assert (page[:top] < 200).any()
    assert (page[top:, :left] < 200).any()


def test_numbers_of_many_columns_stand_apart() -> None:
    """1,000 columns of one pixel, 26 points apart at least: every 64th is named, which leaves white between them."""
    page = with_numbers(Image.new("RGB", (1000, 10)), [0], range(1000), across="", down="")
    above = (np.asarray(page.convert("L"))[: page.height - 10] < 200).any(axis=0)
    starts = np.flatnonzero(np.diff(np.concatenate([[0], above.astype(int)])) == 1)
    groups = 1 + int((np.diff(starts) > 30).sum())
    assert groups == len(range(0, 1000, 64))
