"""Bins are found by the bits of a float; the oracle is a search among the edges, and for quantiles a full sort."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convscope.dataset.histograms import BINS, EDGES, NOWHERE, bins_at, counted, quantile

ZERO = BINS // 2


def by_search(value: float) -> int:
    """Bins hold their inner edge, the one nearer to zero; beyond the outermost edge is the outermost bin."""
    if not np.isfinite(value):
        return NOWHERE
    positive = EDGES[ZERO + 1 :]
    step = int(np.searchsorted(positive, abs(value), side="right"))  # 0: below 2^-24
    step = min(step, len(positive) - 1)
    return ZERO + step if value > 0 else ZERO - step


def bins_of(values: np.ndarray) -> np.ndarray:
    return bins_at(values[None, :, None], np.arange(len(values)))[:, 0]


def test_edges_ascend_by_a_quarter_of_an_octave_from_2_to_the_minus_24_to_2_to_the_24() -> None:
    positive = EDGES[ZERO + 1 :]
    assert len(EDGES) == BINS + 1 == 386
    assert positive[0] == 2.0**-24
    assert positive[-1] == 2.0**24
    assert positive[:5].tolist() == [2.0**-24 * m for m in (1, 1.25, 1.5, 1.75, 2)]
    assert np.array_equal(EDGES, -EDGES[::-1])


@given(hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(width=32)))
def test_a_values_bin_is_the_one_between_whose_edges_it_lies(values: np.ndarray) -> None:
    assert bins_of(values).tolist() == [by_search(float(v)) for v in values]


def test_every_edge_opens_a_bin() -> None:
    positive = EDGES[ZERO + 1 : -1]
    assert bins_of(positive.astype(np.float32)).tolist() == list(range(ZERO + 1, BINS))
    below = np.nextafter(positive.astype(np.float32), np.float32(0))
    assert bins_of(below).tolist() == list(range(ZERO, BINS - 1))


@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, NOWHERE)))
def test_counts_are_those_of_a_loop_and_what_is_not_finite_is_dropped(bins: np.ndarray) -> None:
    expected = np.zeros((bins.shape[1], BINS), int)
    for row in bins:
        for unit, number in enumerate(row):
            if number != NOWHERE:
                expected[unit, number] += 1
    assert np.array_equal(counted(bins), expected)


@pytest.mark.parametrize("q", [0.0, 0.005, 0.1, 0.5, 0.75, 0.995, 1.0])
def test_a_quantile_is_within_a_bin_of_the_sorted_samples(q: float) -> None:
    """Oracle: numpy's quantile of the samples. A bin is at most a quarter of its values wide."""
    rng = np.random.default_rng(3)
    samples = np.stack([rng.standard_normal(20_000), rng.exponential(5, 20_000), -rng.exponential(1e-3, 20_000)], 1)
    found = quantile(counted(bins_at(samples.astype(np.float32)[None], np.arange(len(samples)))), q)
    expected = np.quantile(samples, q, axis=0)
    assert np.all(np.abs(found - expected) <= 0.25 * np.abs(expected) + 2e-3 * np.array([1, 1, 1e-3]))


def test_half_of_a_rectified_unit_at_zero_has_its_lower_quantiles_at_exactly_zero() -> None:
    samples = np.maximum(np.linspace(-1, 1, 1000, dtype=np.float32), 0)[:, None]
    histogram = counted(bins_at(samples[None], np.arange(len(samples))))
    assert quantile(histogram, 0.25).tolist() == [0.0]
    assert quantile(histogram, 0.75)[0] == pytest.approx(0.5, rel=0.05)


def test_a_unit_without_samples_has_no_quantile() -> None:
    assert np.isnan(quantile(np.zeros((1, BINS), np.int64), 0.5)).all()
