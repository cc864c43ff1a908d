"""Ranked effects. Oracles: colours and lengths read off the picture."""

import numpy as np
import pytest
from PIL import ImageColor

from convscope.errors import ConvscopeError
from convscope.render.chart import BAR, MARKED
from convscope.render.colour import colourise
from convscope.render.effect_chart import Effect, effect_chart
from convscope.render.scale import Scale

SCALE = Scale(-10.0, 10.0, signed=True)
CLASSES = ("cat", "dog", "ship")
ROWS = (
    Effect("conv:3", 2.0, (10.0, -5.0, 0.0)),
    Effect("conv:1", 1.0, (2.5, np.nan, 0.0)),
    Effect("conv:2", -1.0, (0.0, 0.0, -10.0)),
)


def pixels(rows=ROWS, **options) -> np.ndarray:
    return np.asarray(effect_chart(rows, CLASSES, SCALE, heading="lost", **options)).astype(int)


def runs(picture: np.ndarray, colour: str) -> list[int]:
    """For each band of rows in which a colour stands: its widest run."""
    is_there = (picture == np.array(ImageColor.getrgb(colour))).all(2)
    widths, lengths = is_there.sum(1), []
    for before, now in zip([0, *widths], [*widths, 0], strict=True):
        if now and not before:
            lengths.append(0)
        if now:
            lengths[-1] = max(lengths[-1], int(now))
    return lengths


def test_bars_are_as_long_as_their_values_to_either_side() -> None:
    up, down = runs(pixels(), MARKED), runs(pixels(), BAR)
    assert len(up) == 2
    assert len(down) == 1
    assert up[0] == pytest.approx(2 * up[1], abs=3)
    assert up[1] == pytest.approx(down[0], abs=4)


def test_cells_have_the_colour_of_their_value_and_what_was_not_measured_has_none() -> None:
    picture = pixels()
    for value in (10.0, -5.0, 2.5, -10.0):
        colour = colourise(np.array([[value]]), SCALE)[0, 0]
        assert (picture == colour).all(2).sum() > 200, value
    whole = pixels((Effect("a", 1.0, (10.0, 10.0, 10.0)),))
    part = pixels((Effect("a", 1.0, (10.0, np.nan, 10.0)),))
    red = colourise(np.array([[10.0]]), SCALE)[0, 0]
    assert (part == red).all(2).sum() == pytest.approx((whole == red).all(2).sum() * 2 / 3, rel=0.05)


def test_a_gap_takes_a_row_and_a_word_at_the_end_its_room() -> None:
    one, two = pixels(ROWS), pixels((*ROWS[:2], None, ROWS[2]))
    assert two.shape[0] - one.shape[0] == 34  # 17 points
    assert runs(one, MARKED) == runs(two, MARKED)
    assert pixels((Effect("a", 1.0, (0.0, 0.0, 0.0), said="cat"),)).shape[1] > pixels(ROWS).shape[1]


def test_many_classes_and_strange_names() -> None:
    classes = [f"a class with a long name and a $ {n} 鳥" for n in range(50)]
    rows = [Effect(f"a.very.long.layer.name.that.does.not.fit.at.all:{n}", float(n), [0.0] * 50) for n in range(40)]
    assert effect_chart(rows, classes, SCALE, heading="lost").width < 3000


@pytest.mark.parametrize(
    ("rows", "scale", "message"),
    [
        ((), SCALE, "0 rows of effects do not have"),
        ((None,), SCALE, "1 rows of effects"),
        ((Effect("a", 1.0, (1.0,)),), SCALE, "1 rows of effects do not have one number for each of 3 classes"),
        (ROWS, Scale(0.0, 10.0), "give a signed scale"),
    ],
)
def test_what_cannot_be_drawn(rows, scale: Scale, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        effect_chart(rows, CLASSES, scale, heading="lost")
