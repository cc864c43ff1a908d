"""Strips over epochs. Oracle: pixels, edges by hand."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from convscope.errors import ConvscopeError
from convscope.render.epoch_strips import UNKNOWN, Ramp, edges, epoch_strips, ticks

RED, BLUE = (200, 30, 30), (30, 30, 200)


def width_of(picture: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(picture) == colour).all(2).any(0).sum())


def test_a_column_is_as_wide_as_its_epochs_are_apart() -> None:
    assert edges([5], 30) == [0, 30]
    assert edges([0, 1, 2], 30) == [0, 10, 20, 30]
    # middles at 0.5 and 2.5, and half a step beyond each end
    assert edges([0, 1, 4], 60) == [0, 10, 30, 60]
    colours = np.array([[RED, BLUE, RED]], np.uint8)
    picture = epoch_strips(["a"], [0, 1, 4], colours, width=60, pixel_ratio=1)
    assert (width_of(picture, RED), width_of(picture, BLUE)) == (38, 20)  # less the frame's two lines


def test_what_is_not_known_is_grey() -> None:
    colours = np.array([[RED, BLUE]], np.uint8)
    picture = epoch_strips(["a"], [0, 1], colours, known=np.array([[True, False]]), width=60, pixel_ratio=1)
    assert width_of(picture, BLUE) == 0
    assert width_of(picture, ImageColor.getrgb(UNKNOWN)) == 29


def test_rows_stand_below_one_another_in_their_order() -> None:
    picture = np.asarray(epoch_strips(["a", "b"], [0], np.array([[RED], [BLUE]], np.uint8), width=60, pixel_ratio=1))
    above, below = (np.nonzero((picture == colour).all(2))[0].mean() for colour in (RED, BLUE))
    assert below - above == pytest.approx(15, abs=0.6)


def test_the_ramp_and_the_words_are_drawn() -> None:
    colours = np.array([[RED]], np.uint8)
    ramp = Ramp(np.array([RED, BLUE], np.uint8), ("0", "1"))
    bare = epoch_strips(["a"], [0], colours)
    whole = epoch_strips(["a"], [0], colours, texts=["0.5"], heading="what", note="how", ramp=ramp)
    assert whole.height > bare.height
    assert width_of(whole, BLUE) > 100


@pytest.mark.parametrize(
    ("epochs", "named"),
    [
        ([0], [0]),
        (list(range(5)), [0, 1, 2, 3, 4]),
        (list(range(21)), [0, 5, 10, 15, 20]),
        (list(range(0, 301, 3)), [0, 150, 300]),
        ([7, 9, 11], [7, 9, 11]),
    ],
)
def test_round_epochs_are_named(epochs: list[int], named: list[int]) -> None:
    found = [epochs[place] for place in ticks(epochs)]
    assert set(named) <= set(found)
    assert 1 <= len(found) <= 9


@pytest.mark.parametrize(("names", "epochs", "texts"), [([], [], ()), (["a"], [0, 1], ()), (["a"], [0], ("x", "y"))])
def test_what_does_not_go_together_is_refused(names: list[str], epochs: list[int], texts: tuple[str, ...]) -> None:
    with pytest.raises(ConvscopeError):
        epoch_strips(names, epochs, np.zeros((len(names), 1, 3), np.uint8), texts=texts)
