"""Mosaics: pictures are found again in the frame, pixel by pixel, in their order."""

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.mosaic import MOST_TILE_PX, WIDTH_PX, Mosaic, tile_side


def plain(colour: str, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, colour)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 16, 50, 100])
def test_a_mosaic_is_about_square_and_no_wider_than_it_says(count: int) -> None:
    side = tile_side(count)
    assert side <= MOST_TILE_PX
    frame = Mosaic(("a",) * count, (side, side)).frame([plain("red", (side, side))] * count)
    assert frame.width <= WIDTH_PX
    found = np.asarray(frame).astype(int)
    assert (np.abs(found - [255, 0, 0]).sum(-1) == 0).sum() == count * side**2  # no two overlap, none is cut


def test_each_picture_is_in_its_place() -> None:
    colours = ["#102030", "#405060", "#708090", "#a0b0c0", "#d0e0f0"]
    mosaic = Mosaic(tuple("abcde"), (40, 30), "a title")
    frame = np.asarray(mosaic.frame([plain(colour) for colour in colours], "step 3 of 9"))
    corners = []
    for colour in colours:
        ys, xs = np.nonzero((frame == np.asarray(plain(colour))[0, 0]).all(-1))
        assert (np.ptp(ys) + 1, np.ptp(xs) + 1, len(ys)) == (30, 40, 1200)
        corners.append((ys[0], xs[0]))
    assert corners == sorted(corners)  # in reading order
    assert len({y for y, _ in corners}) == 2


def test_frames_differ_in_pictures_and_note_only() -> None:
    mosaic = Mosaic(("a", "b"), (40, 30), "a title")
    one, other = (np.asarray(mosaic.frame([plain("red"), plain(c)], n)) for c, n in (("red", "step 1"), ("lime", "")))
    ys, xs = np.nonzero((one != other).any(-1))
    below = ys > 60
    assert (np.ptp(ys[below]) + 1, np.ptp(xs[below]) + 1) == (30, 40)
    assert xs[below].min() > 50


def test_other_pictures_are_refused() -> None:
    mosaic = Mosaic(("a", "b"), (40, 30))
    for given in ([plain("red")], [plain("red"), plain("red", (30, 40))]):
        with pytest.raises(ConvscopeError, match=r"a mosaic of 2 pictures of \(40, 30\) px was given others"):
            mosaic.frame(given)
