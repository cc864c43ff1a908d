"""The threshold that a unit exceeds at a small share of all places. Oracle: sorting all activations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convscope.dataset.upper_quantiles import RELATIVE_WIDTH, UpperQuantiles
from convscope.errors import ConvscopeError

LEVELS = (0.005, 0.1, 0.5)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def exact(values: np.ndarray, level: float) -> np.float32:
    """The smallest activation that is exceeded by no more than that share of all."""
    ordered = np.sort(values)[::-1]
    allowed = int(np.floor(level * len(values) + 1e-6))
    return ordered[allowed]


def of(values: np.ndarray, splits: int = 1) -> UpperQuantiles:
    counts = UpperQuantiles(len(values))
    for part in np.array_split(values, splits, axis=1):
        counts.update(part)
    return counts


def check(values: np.ndarray, level: float, counts: UpperQuantiles) -> None:
    thresholds, above = counts.compute(level)
    for unit, row in enumerate(values):
        q, t = float(exact(row, level)), float(thresholds[unit])
        assert q <= t or (t == 0 and q <= 0)
        assert t <= q + max(abs(q) * RELATIVE_WIDTH, 1e-37)
        assert above[unit] == (row > t).mean()
        assert above[unit] <= level + 1e-9


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_it_is_within_its_bound_of_the_exact_one_at_any_scale(level: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    kinds = [rng.normal(size=4000), rng.normal(size=4000) - 3, rng.exponential(size=4000), rng.normal(size=4000) ** 3]
    values = (scale * np.stack([*kinds, np.maximum(kinds[0], 0), np.full(4000, 2.5)])).astype(np.float32)
    check(values, level, of(values, 7))


@settings(max_examples=60)
@given(arrays(np.float32, (3, 40), elements=FLOATS), st.sampled_from(LEVELS))
def test_any_numbers(values: np.ndarray, level: float) -> None:
    check(values, level, of(values))


def test_a_unit_that_is_mostly_silent_has_the_threshold_zero_and_is_on_where_it_is_positive() -> None:
    values = np.zeros((2, 1000), np.float32)
    values[0, :3] = 5, 1e-3, 7
    thresholds, above = of(values).compute(0.005)
    assert thresholds.tolist() == [0, 0]
    assert above.tolist() == [0.003, 0]


def test_a_gap_between_the_values_does_not_widen_the_bound() -> None:
    values = np.full((1, 1000), 0.99999, np.float32)
    values[0, :2] = 1e6
    assert of(values).compute(0.005)[0][0] < 1.01


def test_the_order_and_the_split_do_not_matter() -> None:
    values = np.random.default_rng(1).normal(size=(70, 3000)).astype(np.float32)  # more units than go at once
    whole, parts = of(values), of(values[:, :1000])
    rest = of(values[:, 1000:], 3)
    rest.merge(parts)
    for one, other in zip(whole.compute(0.01), rest.compute(0.01), strict=True):
        np.testing.assert_array_equal(one, other)
    for name, array in whole.tensors().items():
        np.testing.assert_array_equal(array, rest.tensors()[name])


def test_what_is_not_finite_is_counted_apart_and_has_no_share() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(2, 500)).astype(np.float32)
    spoilt = np.concatenate([values, np.array([[np.nan, np.inf, -np.inf], [1.0, np.inf, np.inf]], np.float32)], 1)
    spoilt[1, -3] = np.nan
    counts, clean = of(spoilt), of(values)
    assert counts.nonfinite.tolist() == [3, 3]
    np.testing.assert_array_equal(counts.compute(0.01)[0], clean.compute(0.01)[0])
    nothing = of(np.full((1, 4), np.nan, np.float32))
    assert nothing.compute(0.01)[0].tolist() == [np.inf]
    assert UpperQuantiles(2).compute(0.01)[1].tolist() == [0, 0]


def test_memory_does_not_grow_with_the_data() -> None:
    counts = UpperQuantiles(4)
    rng = np.random.default_rng(3)
    sizes = []
    for _ in range(20):
        counts.update(np.maximum(rng.normal(size=(4, 5000)), 0).astype(np.float32))
        sizes.append(counts.tensors()["blocks"].nbytes)
    assert sizes[-1] <= 1.3 * sizes[2]
    assert sizes[-1] < 4 * 2**20


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, float("nan")])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(ConvscopeError, match="a share between 0 and 1"):
        UpperQuantiles(1).compute(level)


def test_counts_of_other_units_are_refused() -> None:
    with pytest.raises(ConvscopeError, match="3 units were given to counts of 2"):
        UpperQuantiles(2).update(np.zeros((3, 1), np.float32))
    with pytest.raises(ConvscopeError, match="counts of 3 units"):
        UpperQuantiles(2).merge(UpperQuantiles(3))
