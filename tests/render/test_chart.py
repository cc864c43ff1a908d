"""Charts of probabilities. Oracles: the drawn length of every bar in pixels; one chart against another."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from convscope.errors import ConvscopeError
from convscope.render.chart import (
    BAR,
    MARKED,
    TRACK,
    before_and_after_bars,
    probability_bars,
    value_axis,
    value_bars,
)

TOP5 = [("tabby", 0.873), ("lynx", 0.5), ("tiger cat", 0.031), ("cougar", 0.002), ("teapot", 0.0)]


def rgb(colour: str) -> np.ndarray:
    return np.array([round(255 * share) for share in to_rgb(colour)])


def bars(picture, width: int) -> list[tuple[str, float]]:
    """(colour, share of its track) of every bar from the top, read off the pixels."""
    pixels = np.asarray(picture)[:, :width].astype(int)
    found, inside = [], False
    for row in pixels:
        kinds = {name: (np.abs(row - rgb(name)).max(axis=1) <= 2) for name in (MARKED, BAR, TRACK)}
        on_bar = sum(kind.sum() for kind in kinds.values()) > 0.97 * width
        if on_bar and not inside:
            name = MARKED if kinds[MARKED].sum() > kinds[BAR].sum() else BAR
            found.append((name, kinds[name].sum() / width))
        inside = on_bar
    return found


def test_every_bar_is_as_long_as_its_probability_of_the_whole_width():
    drawn = bars(probability_bars(TOP5, width=300, height=260, pixel_ratio=2), 600)
    assert [length for _, length in drawn] == pytest.approx([p for _, p in TOP5], abs=2 / 600)


def test_marked_classes_stand_out_and_the_order_is_kept():
    drawn = bars(probability_bars(TOP5, marked={"lynx", "no such"}), 512)
    assert [name for name, length in drawn if length > 0.01] == [BAR, MARKED, BAR]


def test_before_and_after_share_the_scale_from_0_to_1():
    picture = before_and_after_bars([("cat", 0.8)], [("cat", 0.2), ("dog", 0.1)], width=418, height=200, pixel_ratio=1)
    left, right = picture.crop((0, 0, 200, 200)), picture.crop((218, 0, 418, 200))
    assert [length for _, length in bars(left, 200)] == pytest.approx([0.8], abs=0.01)
    assert [length for _, length in bars(right, 200)] == pytest.approx([0.2, 0.1], abs=0.01)


def test_bars_of_both_charts_stand_at_one_height():
    picture = before_and_after_bars(TOP5, TOP5, width=418, height=200, pixel_ratio=1)
    left, right = picture.crop((0, 0, 200, 200)), picture.crop((218, 0, 418, 200))
    assert bars(left, 200) == bars(right, 200)


@pytest.mark.parametrize(("width", "height", "ratio"), [(256, 256, 2), (530, 256, 2), (257, 255, 1), (333, 301, 3)])
def test_the_picture_has_the_asked_size(width, height, ratio):
    assert probability_bars(TOP5, width=width, height=height, pixel_ratio=ratio).size == (width * ratio, height * ratio)


def test_names_of_any_script_and_length_raise_no_warning():
    odd = [("猫 🐱", 0.5), ("$\\frac{$", 0.2), ("a" * 300, 0.1), ("", 0.1), ("two\nlines", 0.1)]
    assert len(bars(probability_bars(odd, title="猫"), 512)) == 5


def test_refusals():
    with pytest.raises(ConvscopeError, match="at least one class"):
        probability_bars([])
    for number in (-0.1, 1.01, float("nan")):
        with pytest.raises(ConvscopeError, match="is not a probability, but was given for 'cat'"):
            probability_bars([("cat", number)])
    with pytest.raises(ConvscopeError, match=r"20 bars need a height of 4.. points"):
        probability_bars([("cat", 0.01)] * 20)


# ---- bars of other values ----


def coloured(picture, y: int) -> tuple[float, float]:
    """From where to where, in shares of the width, a row of pixels is a bar and not its track."""
    pixels = np.asarray(picture)[y].astype(int)
    on = np.flatnonzero(np.abs(pixels - rgb(BAR)).max(axis=1) <= 2)
    return (on[0] / len(pixels), (on[-1] + 1) / len(pixels)) if len(on) else (0.0, 0.0)


def test_a_bar_of_a_value_runs_from_0_to_either_side():
    """Oracle: the places of 0 and of the value on the axis, in pixels."""
    axis = value_axis([-2.0, 6.0])
    for value, expected in ((6.0, (0.25, 1.0)), (-2.0, (0.0, 0.25)), (2.0, (0.25, 0.5)), (-1.0, (0.125, 0.25))):
        picture = value_bars([("cat", value)], axis, width=400, height=60, pixel_ratio=1)
        rows = [coloured(picture, y) for y in range(60)]
        assert max(rows, key=lambda ends: ends[1] - ends[0]) == pytest.approx(expected, abs=2 / 400)


def test_an_axis_holds_0_and_all_values_and_its_numbers_keep_apart():
    assert [(axis.low, axis.high) for axis in (value_axis([3.0, 5.0]), value_axis([-4.0]), value_axis([0.0]))] == [
        (0.0, 5.0), (-4.0, 0.0), (0.0, 1.0),
    ]  # fmt: skip
    assert [label for _, label in value_axis([-0.5, 9.5]).ticks] == ["0", "9.5"]  # -0.5 would lie on the 0
    assert [label for _, label in value_axis([-5.0, 5.0]).ticks] == ["0", "−5", "5"]
    assert value_axis([-1.0]).text(-1.236) == "−1.24"
    with pytest.raises(ConvscopeError, match="NaN or infinite"):
        value_axis([1.0, float("nan")])
