"""Confusion matrices, tinted maps and bands: oracle, the pixels."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from convscope.errors import ConvscopeError
from convscope.render.bands import Band, layer_bands
from convscope.render.confusion import cell_colours, confusion_matrix, matrix_legend
from convscope.render.tinted_map import BELOW, tinted_map

COUNTS = np.array([[6, 2, 0], [0, 4, 4], [1, 0, 0]])
RIGHT = np.eye(3, dtype=bool)


def test_right_answers_and_mistakes_have_scales_of_their_own() -> None:
    """Oracle: matplotlib's colours at the places that the module's docstring names."""
    shares = COUNTS / COUNTS.sum(1, keepdims=True)
    colours = cell_colours(shares, RIGHT, 1.0)
    assert (colours[COUNTS == 0] == 255).all()
    place = 0.85 * (0.18 + 0.82 * 0.75)
    assert np.array_equal(colours[0, 0], mpl.colormaps["Blues"](place, bytes=True)[:3])
    assert np.array_equal(colours[2, 0], mpl.colormaps["Oranges"](0.85, bytes=True)[:3])
    halved = cell_colours(shares, RIGHT, 0.5)  # the worst cell has the full colour
    assert np.array_equal(halved[1, 2], mpl.colormaps["Oranges"](0.85, bytes=True)[:3])
    assert np.array_equal(halved[1, 1], colours[1, 1])


def test_the_matrix_has_a_square_a_cell_in_reading_order() -> None:
    picture = np.asarray(confusion_matrix(COUNTS, RIGHT, ["a", "b", "c"], ["a", "b", "c"])).astype(int)
    shares = COUNTS / COUNTS.sum(1, keepdims=True)
    wanted = cell_colours(shares, RIGHT, 1.0)
    at = [np.argwhere((picture == wanted[cell]).all(2)).mean(0) for cell in ((0, 0), (1, 2), (2, 0))]
    assert at[0][0] < at[1][0] < at[2][0]
    assert at[1][1] > at[0][1]


def test_short_names_stand_upright_above_their_columns() -> None:
    """Oracle: the head is one line high, where turned names need their length."""
    names = ["0", "1", "2"]
    upright = confusion_matrix(COUNTS, RIGHT, names, names, legend=False)
    turned = confusion_matrix(COUNTS, RIGHT, names, ["a name", "of some", "letters"], legend=False)
    assert turned.height > upright.height + 20
    assert upright.height - 3 * 68 < 70  # three cells of 34 points, and two lines


def test_large_ones_have_no_counts_and_long_names_end_in_an_ellipsis() -> None:
    names = [f"a very long name of a class that goes on and on {i}" for i in range(40)]
    picture = confusion_matrix(np.eye(40, dtype=int), np.eye(40, dtype=bool), names, names)
    assert picture.width < 2 * 1000


def test_refusals_of_matrices() -> None:
    with pytest.raises(ConvscopeError, match=r"\(3, 3\) counts for 2 x 3 names"):
        confusion_matrix(COUNTS, RIGHT, ["a", "b"], ["a", "b", "c"])
    with pytest.raises(ConvscopeError, match="of no image"):
        confusion_matrix(0 * COUNTS, RIGHT, ["a", "b", "c"], ["a", "b", "c"])


def test_tints_are_as_deep_as_the_values_and_grey_below_zero() -> None:
    picture = np.asarray(tinted_map(np.array([[0.0, 1.0], [2.0, -2.0]]), "#ff0000", 2.0))
    grey = [int(BELOW[i : i + 2], 16) for i in (1, 3, 5)]
    assert picture.tolist() == [[[255, 255, 255], [255, 128, 128]], [[255, 0, 0], grey]]
    assert (np.asarray(tinted_map(np.zeros((2, 2)), "#ff0000", 0.0)) == 255).all()
    with pytest.raises(ConvscopeError, match="beyond 1"):
        tinted_map(np.array([[2.0]]), "#ff0000", 1.0)
    with pytest.raises(ConvscopeError, match="not finite"):
        tinted_map(np.array([[np.nan]]), "#ff0000", 1.0)


def test_bands_draw_the_percentiles_of_the_units_that_have_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: numpy's percentiles, among what reaches the figure."""
    figures: list[Figure] = []
    made = Figure.__init__
    monkeypatch.setattr(Figure, "__init__", lambda self, *a, **k: (figures.append(self), made(self, *a, **k))[1])
    values = [np.array([1.0, 2, 3, 4, 100, np.nan]), np.array([np.nan]), np.array([5.0])]
    layer_bands(["a", "b", "c"], [Band("n", values), Band("share", values, (0, 100), as_percent=True)])
    axes = figures[0].axes
    assert len(axes) == 2
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), [3, np.nan, 5])
    (low, high) = np.array(axes[0].collections[0].get_segments()[0])[:, 1]
    np.testing.assert_allclose((low, high), np.percentile([1, 2, 3, 4, 100], (10, 90)))
    with pytest.raises(ConvscopeError, match="2 layers need"):
        layer_bands(["a", "b"], [Band("n", values)])


def test_matrices_to_be_compared_end_at_one_share_and_say_where_there_are_larger() -> None:
    names = ["a", "b", "c"]
    picture = np.asarray(confusion_matrix(COUNTS, RIGHT, names, names, worst=0.5, legend=False))
    wanted = cell_colours(COUNTS / COUNTS.sum(1, keepdims=True), RIGHT, 0.5)
    assert (picture == wanted[1, 2]).all(2).any()
    assert (picture == wanted[0, 1]).all(2).any()
    whole = confusion_matrix(COUNTS, RIGHT, names, names, worst=0.5)
    clipped, ends = matrix_legend(0.5, is_clipped=True), matrix_legend(0.5)
    assert clipped.tobytes() != ends.tobytes()
    below = np.asarray(whole)[-clipped.height :, : clipped.width]
    np.testing.assert_array_equal(below, np.asarray(clipped)[:, : below.shape[1]])
