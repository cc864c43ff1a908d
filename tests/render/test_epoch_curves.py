"""Curves over epochs. Oracles: the pixels of the lines, distances by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.epoch_curves import EpochLine, epoch_curves, spread

FIRST, SECOND = (0x2A, 0x78, 0x8E), (0xC8, 0x55, 0x3D)
NAN = float("nan")


def unwritten(_: float) -> str:
    """No numbers at the lines' ends, which have the lines' colours."""
    return ""


def of_colour(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns."""
    near = np.abs(np.asarray(picture).astype(int) - colour).max(2) < 12
    return np.nonzero(near)


def heights(values: tuple[float, ...], log: bool = False) -> list[float]:
    """The row of each marker."""
    line = EpochLine("", tuple(range(len(values))), values)
    rows, columns = of_colour(epoch_curves([line], what="loss", log=log, text=unwritten), FIRST)
    places = np.linspace(columns.min() + 4, columns.max() - 4, len(values))
    return [float(rows[np.abs(columns - place) < 3].mean()) for place in places]


def test_equal_steps_are_equal_heights_and_on_a_logarithmic_axis_equal_ratios() -> None:
    first, second, third = heights((3.0, 2.0, 1.0))
    assert second - first == pytest.approx(third - second, rel=0.05)
    assert third > first
    first, second, third = heights((1.0, 0.1, 0.01), log=True)
    assert second - first == pytest.approx(third - second, rel=0.05)


def test_a_loss_that_runs_away_has_few_decades_named() -> None:
    written: list[float] = []

    def counted(value: float) -> str:
        written.append(value)
        return ""

    epoch_curves([EpochLine("", (0, 1), (0.5, 3e36))], what="loss", log=True, text=counted)
    powers = np.unique(np.round(np.log10(written[:-1]), 6))  # the last is the line's own end
    assert 4 <= len(powers) <= 8
    assert len(np.unique(np.diff(powers))) == 1


def test_epochs_lie_where_they_are_not_side_by_side() -> None:
    """Of epochs 0, 1 and 4 the second stands a quarter of the way."""
    line = EpochLine("", (0, 1, 4), (1.0, 0.0, 1.0))
    rows, columns = of_colour(epoch_curves([line], what="loss", text=unwritten), FIRST)
    lowest = columns[rows >= rows.max() - 2].mean()
    assert (lowest - columns.min()) / (columns.max() - columns.min()) == pytest.approx(0.25, abs=0.02)


def test_lines_differ_in_colour_dash_and_mark() -> None:
    epochs = tuple(range(6))
    lines = [EpochLine("", epochs, (2.0,) * 6), EpochLine("", epochs, (1.0,) * 6)]
    picture = epoch_curves(lines, what="loss", text=unwritten)
    rows, columns = of_colour(picture, FIRST)
    middle = columns[np.abs(rows - np.median(rows)) < 2]
    assert len(np.unique(middle)) == np.ptp(middle) + 1  # solid
    rows, columns = of_colour(picture, SECOND)
    middle = np.unique(columns[np.abs(rows - np.median(rows)) < 2])
    assert len(middle) < 0.95 * (np.ptp(middle) + 1)  # dashed


def test_what_is_no_number_leaves_a_gap() -> None:
    _, columns = of_colour(
        epoch_curves([EpochLine("", (0, 1, 2, 3, 4), (1.0, 1.0, NAN, 1.0, 1.1))], what="x", text=unwritten), FIRST
    )
    there = np.unique(columns)
    third = (there.max() - there.min()) / 4
    assert np.diff(there).max() > third


def test_one_epoch_marks_and_levels_are_drawn() -> None:
    one = EpochLine("", (3,), (0.5,))
    plain = epoch_curves([one], what="loss", limits=(0, 1))
    noted = epoch_curves([one], what="loss", limits=(0, 1), marked=(3, "low$est"), level=(0.2, "chance"))
    assert len(of_colour(plain, FIRST)[0]) > 20
    assert plain.tobytes() != noted.tobytes()
    assert epoch_curves([one], what="loss", width=300, height=200, pixel_ratio=1).size == (300, 200)


@pytest.mark.parametrize(
    ("lines", "log"),
    [
        ([], False),
        ([EpochLine("", (0,), (1.0,))] * 5, False),
        ([EpochLine("", (0, 1), (1.0,))], False),
        ([EpochLine("", (0,), (NAN,))], False),
        ([EpochLine("", (0, 1), (1.0, 0.0))], True),
    ],
)
def test_what_cannot_be_drawn_is_refused(lines: list[EpochLine], log: bool) -> None:
    with pytest.raises(ConvscopeError):
        epoch_curves(lines, what="loss", log=log)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_names_stand_apart_in_their_order_and_move_no_further_than_they_must(places: list[float]) -> None:
    moved = spread(places, 10.0)
    order = sorted(range(len(places)), key=lambda i: places[i])
    apart = np.diff([moved[i] for i in order])
    assert (apart >= 10 - 1e-6).all()
    assert np.mean(moved) == pytest.approx(np.mean(places), abs=1e-6)
    if (np.diff(sorted(places)) >= 10).all():
        assert moved == pytest.approx(places)
