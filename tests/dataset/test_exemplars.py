"""The oracle is a full sort in plain Python of every value that took part."""

from itertools import pairwise
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.dataset import exemplars
from convscope.dataset.exemplars import Exemplars
from convscope.errors import ConvscopeError

UNITS = 3


def readings(values: np.ndarray) -> SimpleNamespace:
    """Of ``(m, b, u)`` values, which are put at a place that tells image, unit and rank."""
    m, _, u = values.shape
    y, x = np.broadcast_to(np.arange(m)[:, None, None], values.shape), np.broadcast_to(np.arange(u), values.shape)
    gone = np.isinf(values)
    y, x = (np.where(gone, -1, each).astype(np.int32) for each in (y, x))
    return SimpleNamespace(values=values.astype(np.float32), y=y, x=x)


def full_sort(values: np.ndarray, images: np.ndarray, top: int) -> list[list[tuple[float, int, int, int]]]:
    """``(m, n, u)`` values -> for every unit (value, image, y, x), best first, filled up to ``top``."""
    found = []
    for unit in range(values.shape[2]):
        every = [
            (float(np.float32(values[rank, i, unit])), int(images[i]), rank, unit)
            for rank in range(len(values))
            for i in range(values.shape[1])
            if np.isfinite(values[rank, i, unit])
        ]
        every.sort(key=lambda one: (-one[0], one[1], one[2], one[3]))
        found.append((every + [(-np.inf, -1, -1, -1)] * top)[:top])
    return found


def as_lists(found: Exemplars) -> list[list[tuple[float, int, int, int]]]:
    values, images, y, x = (each.tolist() for each in found.compute())
    return [list(zip(*row, strict=True)) for row in zip(values, images, y, x, strict=True)]


def best_first(values: np.ndarray) -> np.ndarray:
    return -np.sort(-values, axis=0)


# few different values, so that ties are the rule; -inf: a map without a finite value
cells = st.lists(st.sampled_from([-np.inf, -2.0, -0.0, 0.0, 0.5, 3.0]), min_size=UNITS, max_size=UNITS)


@st.composite
def data(draw):
    m = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(cells, min_size=m, max_size=m), min_size=0, max_size=20))
    values = np.array(rows, np.float64).reshape(len(rows), m, UNITS).transpose(1, 0, 2)
    numbers = draw(st.lists(st.integers(0, 500), min_size=len(rows), max_size=len(rows), unique=True))
    if draw(st.booleans()):
        numbers.sort()
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    return best_first(values), np.array(numbers, np.int64), [0, *cuts, len(rows)]


@settings(max_examples=150)
@given(data(), st.integers(1, 5), st.integers(1, 12))
def test_any_batches_in_any_order_give_a_full_sort(given_data, top, held):
    values, numbers, cuts = given_data
    found = Exemplars(top, per_image=len(values))
    with mock.patch.object(exemplars, "HELD", held):
        for start, end in pairwise(cuts):
            found.update(readings(values[:, start:end]), numbers[start:end])
    assert as_lists(found) == full_sort(values, numbers, top)


@settings(max_examples=150)
@given(data(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_any_merge_in_any_order_gives_a_full_sort(given_data, top, random):
    values, numbers, cuts = given_data
    parts = []
    for start, end in pairwise(cuts):
        part = Exemplars(top, per_image=len(values))
        part.update(readings(values[:, start:end]), numbers[start:end])
        parts.append(Exemplars.from_tensors(part.tensors(), per_image=len(values)))
    random.shuffle(parts)
    whole = Exemplars(top, per_image=len(values))
    for part in parts:
        whole.merge(part)
    assert as_lists(whole) == full_sort(values, numbers, top)


def test_a_part_goes_on_where_it_stood():
    rng = np.random.default_rng(0)
    values, numbers = best_first(rng.normal(size=(2, 30, UNITS))), np.arange(30)
    first = Exemplars(4, 2)
    first.update(readings(values[:, :11]), numbers[:11])
    second = Exemplars.from_tensors(first.tensors(), 2)
    second.update(readings(values[:, 11:]), numbers[11:])
    assert as_lists(second) == full_sort(values, numbers, 4)
    assert as_lists(first) == full_sort(values[:, :11], numbers[:11], 4), "the first was written into"


def test_one_an_image_where_more_positions_were_read():
    values = best_first(np.random.default_rng(1).normal(size=(3, 12, UNITS)))
    found = Exemplars(5)
    found.update(readings(values), np.arange(12))
    assert as_lists(found) == full_sort(values[:1], np.arange(12), 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_never_win(bad):
    values = np.array([[[1.0], [bad], [3.0]]])
    found = Exemplars(3)
    found.update(readings(values), np.arange(3))
    assert as_lists(found) == [[(3.0, 2, 0, 0), (1.0, 0, 0, 0), (-np.inf, -1, -1, -1)]]


def test_signs_and_sizes_are_sorted_as_numbers():
    tiny = np.float32(1e-45)
    values = np.array([-0.0, 0.0, tiny, -tiny, 3e38, -3e38, 1.0, -1.0, 1.0000001], np.float32)
    found = Exemplars(9)
    found.update(readings(values[None, :, None].astype(np.float64)), np.arange(9))
    assert [image for _, image, _, _ in as_lists(found)[0]] == [4, 8, 6, 2, 0, 1, 3, 7, 5]


def test_nothing_seen_is_no_unit():
    assert [each.shape for each in Exemplars(9).compute()] == [(0, 9)] * 4
    empty = Exemplars.from_tensors(Exemplars(9).tensors())
    empty.update(readings(np.ones((1, 2, UNITS))), np.arange(2))
    assert as_lists(empty)[0][:2] == [(1.0, 0, 0, 0), (1.0, 1, 0, 0)]


def test_counts_that_do_not_fit_are_refused():
    found = Exemplars(2)
    with pytest.raises(ConvscopeError, match="2 images were given with 3 image numbers"):
        found.update(readings(np.ones((1, 2, UNITS))), np.arange(3))
    found.update(readings(np.ones((1, 2, UNITS))), np.arange(2))
    with pytest.raises(ConvscopeError, match="exemplars of 3 units were given those of 4"):
        found.update(readings(np.ones((1, 2, 4))), np.arange(2))
    with pytest.raises(ConvscopeError, match="top=0"):
        Exemplars(0)
