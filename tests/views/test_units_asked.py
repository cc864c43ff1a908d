"""Which units are asked for. Oracles: lists by hand; every list of numbers comes back as it was written."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope.errors import ConvscopeError
from convscope.views.units_asked import checked_units, in_words, numbers_in


def test_units_are_kept_in_order_each_once_and_none_is_all() -> None:
    assert checked_units([5, 2, 5, np.int64(0), torch.tensor(3)], 6, "conv") == (5, 2, 0, 3)
    assert checked_units(None, 3, "conv") == (0, 1, 2)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ([6], r"unit 6 was asked for, but layer 'conv' has 6 units \(0 to 5\)"),
        ([0, -1], "unit -1 was asked for"),
        ([], "no unit of layer 'conv' was asked for; give at least one of its 6"),
        ([True], "unit True is no number"),
    ],
)
def test_others_are_refused(units: list, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        checked_units(units, 6, "conv")


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=30))
def test_numbers_come_back_as_written(numbers: list[int]) -> None:
    assert numbers_in(",".join(map(str, numbers))) == numbers


def test_ranges_have_both_their_ends() -> None:
    assert numbers_in("2, 7,10-12, 4 - 4") == [2, 7, 10, 11, 12, 4]


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1;2", "-3", "1.5", "1-2-3", "99999999", "²"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConvscopeError, match="give numbers from 0 up and ranges, such as 2,7,10-12"):
        numbers_in(text)


def test_a_range_that_runs_backwards_is_refused_with_the_right_one() -> None:
    with pytest.raises(ConvscopeError, match="--units '1,9-3': 9-3 runs backwards; give 3-9"):
        numbers_in("1,9-3", "--units")


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ([3], "unit 3"),
        (range(64), "units 0 to 63"),
        ([4, 5, 6], "units 4 to 6"),
        ([2, 7, 17], "units 2, 7, 17"),
        (range(0, 100, 2), "50 units from 0 to 98"),
    ],
)
def test_in_words(units, words: str) -> None:
    assert in_words(list(units)) == words
