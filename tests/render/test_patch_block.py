"""A block's cells hold the patches at one scale, and a box is drawn round its pixels, not over them."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from convscope.errors import ConvscopeError
from convscope.render.patch_block import BRIGHT, DARK, GROUND, Patch, block

RNG = np.random.default_rng(0)


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8))


def _cells(drawn: Image.Image, columns: int, gap: int, cell: int) -> list[np.ndarray]:
    pixels = np.asarray(drawn)
    rows = (pixels.shape[0] + gap) // (cell + gap)
    starts = [(r * (cell + gap), c * (cell + gap)) for r in range(rows) for c in range(columns)]
    return [pixels[y : y + cell, x : x + cell] for y, x in starts]


def test_nine_patches_lie_in_reading_order_each_pixel_a_square() -> None:
    patches = [_noise(7, 7) for _ in range(9)]
    drawn = block([Patch(one) for one in patches], 3 * 21 + 2 * 2, pixels=True)
    assert drawn.size == (67, 67)
    for one, cell in zip(patches, _cells(drawn, 3, 2, 21), strict=True):
        assert np.array_equal(cell, np.asarray(one).repeat(3, 0).repeat(3, 1))


def test_all_patches_have_one_scale_and_clipped_ones_stand_in_the_middle() -> None:
    whole, clipped = _noise(8, 8), _noise(8, 4)
    drawn = block([Patch(whole), Patch(clipped)], 2 * 16 + 2, pixels=True)
    first, second = _cells(drawn, 2, 2, 16)
    assert np.array_equal(first, np.asarray(whole).repeat(2, 0).repeat(2, 1))
    assert np.array_equal(second[4:12], np.asarray(clipped).repeat(2, 0).repeat(2, 1))
    assert (second[[0, 3, 12, 15]] == ImageColor.getrgb(GROUND)).all()
    (alone,) = _cells(block([Patch(clipped)], 16, longest=16, pixels=True, ground="#808080"), 1, 2, 16)
    assert np.array_equal(alone[6:10, 4:12], np.asarray(clipped))
    assert (alone[:6] == 128).all()


@pytest.mark.parametrize("box", [(3, 4, 9, 10), (0, 0, 5, 5), (11, 9, 16, 16), (0, 0, 16, 16)])
def test_a_box_is_outlined_outside_its_pixels_and_inside_the_patch(box: tuple[int, int, int, int]) -> None:
    patch, times = _noise(16, 16), 4
    bare = np.asarray(block([Patch(patch)], 16 * times, pixels=True))
    marked = np.asarray(block([Patch(patch, box)], 16 * times, pixels=True))
    y0, x0, y1, x1 = (times * side for side in box)
    assert np.array_equal(marked[y0:y1, x0:x1], bare[y0:y1, x0:x1]) or box[0] == 0 or box[3] == 16
    inside = marked[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2]  # at the image's border the line lies on its last pixels
    assert np.array_equal(inside, bare[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2])
    changed = (marked != bare).any(2)
    far = changed.copy()
    far[max(0, y0 - 4) : y1 + 4, max(0, x0 - 4) : x1 + 4] = False
    assert not far.any()
    colours = {tuple(each) for each in marked[changed]}
    assert colours <= {ImageColor.getrgb(BRIGHT), ImageColor.getrgb(DARK)}
    assert ImageColor.getrgb(BRIGHT) in colours


def test_what_has_no_picture_is_an_empty_cell() -> None:
    _, empty = _cells(block([Patch(_noise(8, 8)), Patch(None)], 34, ground="#808080"), 2, 2, 16)
    assert (empty == ImageColor.getrgb(GROUND)).all()


@pytest.mark.parametrize(("count", "side"), [(0, 100), (9, 5), (4, 2)])
def test_no_patches_or_no_room_is_refused(count: int, side: int) -> None:
    with pytest.raises(ConvscopeError, match=f"{count} patches do not fit a block of {side} pixels"):
        block([Patch(_noise(3, 3))] * count, side)
