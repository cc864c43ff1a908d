"""Numbers below a colour bar. Oracle: ink where a number is due, none where it is not."""

import numpy as np
import pytest

from convscope.render.colour_bar import ColourBar, _fitting, _labels, bar_picture
from convscope.render.scale import Scale
from convscope.render.typography import font


def ink(scale: Scale, share: float) -> bool:
    """Whether something is printed below the bar within 3 % of its width."""
    drawn = np.asarray(bar_picture(ColourBar(scale, "grey"), 600, pixel_ratio=2).convert("L"))
    below = drawn[16 + 6 :]
    return bool((below[:, round((share - 0.03) * 600) : round((share + 0.03) * 600)] < 150).any())


@pytest.mark.parametrize(("low", "high", "zero"), [(-1.0, 1.0, 0.5), (-1.0, 2.0, 1 / 3), (-3.0, 2.0, 0.6)])
def test_zero_stands_where_it_lies_on_a_bar_that_passes_it(low: float, high: float, zero: float) -> None:
    assert ink(Scale(low, high), zero)
    assert not ink(Scale(low + 10, high + 10), zero)


def test_zero_gives_way_to_the_numbers_at_the_ends() -> None:
    near_the_end = Scale(-1.0, 9.0)
    assert not ink(near_the_end, 0.2)


def labels(scale: Scale, width_points: int) -> list[str]:
    fitting = _fitting(_labels(scale), scale, font(21), 2 * width_points)
    return [text for _, text in fitting]


def test_numbers_never_run_into_each_other_on_a_narrow_bar() -> None:
    signed = Scale(-8.63e-4, 8.63e-4, signed=True)
    whole = ["−8.63×10⁻⁴", "0", "8.63×10⁻⁴"]
    assert labels(signed, 300) == whole
    assert labels(signed, 143) == whole[::2]
    assert labels(signed, 96) == ["± 8.63×10⁻⁴"]
    assert labels(Scale(0.0, 8.63e-4), 96) == ["0", "8.63×10⁻⁴"]
    for width in (300, 143, 96):
        texts = labels(signed, width)
        assert sum(font(21).getlength(text) for text in texts) < 2 * width
