"""Histograms: oracle, the mass that each drawn bin has to hold, and the pixels of the bars."""

import numpy as np
import pytest

from convscope.dataset.histograms import EDGES
from convscope.errors import ConvscopeError
from convscope.render.chart import BAR
from convscope.render.histogram import equal_bins, histogram


def test_equal_bins_hold_the_same_mass() -> None:
    """Oracle: numpy's histogram of numbers that lie evenly within each given bin."""
    edges, counts = np.array([-4.0, -1, 0, 0.5, 2, 8]), np.array([3, 0, 5, 7, 1])
    even = np.concatenate(
        [np.linspace(a, b, 20_000 * n, endpoint=False) for a, b, n in zip(edges, edges[1:], counts, strict=False) if n]
    )
    places, shares = equal_bins(edges, counts, 12)
    np.testing.assert_allclose(shares, np.histogram(even, places)[0] / len(even), atol=2e-4)
    assert shares.sum() == pytest.approx(1)


def test_only_what_occurs_is_drawn() -> None:
    counts = np.zeros(len(EDGES) - 1)
    first, last = np.searchsorted(EDGES, (-0.9, 5.0)) - 1
    counts[[first, last]] = 1, 3
    places, shares = equal_bins(EDGES, counts)
    assert (places[0], places[-1]) == (EDGES[first], EDGES[last + 1])
    assert shares.sum() == pytest.approx(1)


def test_zero_is_said_and_not_drawn() -> None:
    """The zero bin of an atlas is 2^-23 wide: on a linear axis its bar would hide all others."""
    counts = np.zeros(len(EDGES) - 1)
    counts[len(counts) // 2] = 75
    counts[np.searchsorted(EDGES, 3.0) - 1] = 25
    _, shares = equal_bins(EDGES, counts)
    assert shares.sum() == pytest.approx(0.25)
    alone = np.zeros(len(EDGES) - 1)
    alone[len(alone) // 2] = 1
    _, shares = equal_bins(EDGES, alone)  # a dead unit: nothing but 0
    assert shares.sum() == pytest.approx(1)
    assert histogram(EDGES, alone).size == (640, 400)


def test_bars_on_a_linear_axis_are_as_high_as_their_shares() -> None:
    picture = np.asarray(histogram(np.array([0.0, 1, 2]), np.array([3, 1]), log=False, bins=2)).astype(int)
    colour = [int(BAR[i : i + 2], 16) for i in (1, 3, 5)]
    heights = (np.abs(picture - colour).max(2) < 3).sum(0)
    columns = np.nonzero(heights)[0]
    quarter = (columns[-1] - columns[0]) // 4
    high, low = heights[columns[0] + quarter], heights[columns[-1] - quarter]
    assert high == pytest.approx(3 * low, rel=0.05)


def test_marks_beyond_the_axis_are_left_out() -> None:
    edges, counts = np.array([0.0, 1, 2]), np.array([3, 1])
    plain, beyond = (np.asarray(histogram(edges, counts, marks=marks)) for marks in ([], [(9.0, "far")]))
    assert np.array_equal(plain, beyond)
    assert not np.array_equal(plain, np.asarray(histogram(edges, counts, marks=[(1.5, "the $mean")])))


@pytest.mark.parametrize(
    ("edges", "counts", "message"),
    [
        ([0, 1, 2], [1], "counts do not lie between"),
        ([0, 2, 1], [1, 1], "ascend"),
        ([0, 1, np.inf], [1, 1], "finite"),
        ([0, 1, 2], [0, 0], "no value was counted"),
    ],
)
def test_refusals(edges: list[float], counts: list[float], message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        histogram(np.array(edges, float), np.array(counts, float))
