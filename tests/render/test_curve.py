"""Curves over layers: oracle, the pixels of the lines."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render import curve
from convscope.render.curve import FLOOR, Line, layer_curves

COLOUR = (0x2A, 0x78, 0x8E)  # of the first line


def of_colour(picture: Image.Image, colour: tuple[int, int, int] = COLOUR) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a line's pixels."""
    near = np.abs(np.asarray(picture).astype(int) - colour).max(2) < 12
    return np.nonzero(near)


def heights(*values: float) -> list[float]:
    """The row of each marker, the widest places of the line."""
    line = Line("", tuple(str(i) for i in range(len(values))), values)
    rows, columns = of_colour(layer_curves([line], what="error"))
    places = np.linspace(columns.min(), columns.max(), len(values))
    radius = 5
    return [
        float(rows[np.abs(columns - place) < radius].mean()) for place in (places[0] + 4, *places[1:-1], places[-1] - 4)
    ]


def test_equal_ratios_are_equal_heights() -> None:
    first, second, third = heights(0.001, 0.01, 0.1)
    assert first - second == pytest.approx(second - third, rel=0.05)
    assert first > third


def test_zero_is_drawn_at_the_floor() -> None:
    assert heights(0.0, 0.1)[0] == pytest.approx(heights(FLOOR, 0.1)[0], abs=1)


def test_several_lines_have_their_colours_levels_and_names() -> None:
    labels = ("features.0", "a$b", "fc", "fc2", "fc3")
    one = Line("one", labels, (0.01,) * 5, (1.0,) * 5)
    plain = layer_curves([one], what="error")
    level = layer_curves([one], what="error", level="grey")
    assert plain.size == level.size == (1280, 600)
    assert np.asarray(plain).astype(int).tolist() != np.asarray(level).astype(int).tolist()
    both = layer_curves([one, Line("other", labels[:3], (0.1, 0.2, 0.3))], what="error", width=400, height=200)
    for colour in (COLOUR, (0xC8, 0x55, 0x3D)):
        assert len(of_colour(both, colour)[0]) > 50
    assert layer_curves([one, one, one], what="error", ordered=True).size == (1280, 600)
    assert layer_curves([Line("", ("a",), (0.5,))], what="error").size == (1280, 600)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [Line("", (), ())],
        [Line("", ("a",), (1.0, 2.0))],
        [Line("", ("a",), (1.0,), (1.0, 2.0))],
        [Line("", ("a",), (-1.0,))],
        [Line("", ("a",), (float("nan"),))],
    ],
)
def test_no_numbers_and_numbers_that_cannot_be_drawn_are_refused(lines: list[Line]) -> None:
    with pytest.raises(ConvscopeError):
        layer_curves(lines, what="error")


def test_only_powers_of_ten_are_written_at_the_axis() -> None:
    """matplotlib writes 2 x 10^-1 and so on between them where the numbers span little."""
    axes = Figure().add_subplot()
    axes.plot([0.18, 0.25, 0.45])
    curve._set_y(axes, "error")  # pyright: ignore[reportPrivateUsage]
    axes.figure.draw_without_rendering()
    assert {label.get_text() for label in axes.get_yticklabels(minor=True)} <= {""}
