"""What of a table of features can be laid out: closed forms."""

import numpy as np
import pytest

from convscope.dataset.finite_features import finite_features
from convscope.errors import ConvscopeError

NAN, INF = float("nan"), float("inf")
NAMES = ["a", "b", "c", "d", "e"]


def table(bad: dict[tuple[int, int], float]) -> np.ndarray:
    values = np.arange(20, dtype=np.float32).reshape(5, 4)
    for (image, unit), value in bad.items():
        values[image, unit] = value
    return values


def test_all_is_kept_where_all_is_finite():
    found = finite_features("conv", NAMES, table({}))
    np.testing.assert_array_equal(found.features, table({}))
    assert (found.places, found.left_out, found.units_left_out, found.note("conv")) == ((0, 1, 2, 3, 4), {}, (), "")


def test_a_unit_that_is_never_finite_takes_no_image_with_it():
    found = finite_features("conv", NAMES, table({(n, 2): NAN for n in range(5)}))
    np.testing.assert_array_equal(found.features, table({})[:, [0, 1, 3]])
    assert (found.left_out, found.units_left_out) == ({}, (2,))
    assert found.note("conv") == "left out, NaN or infinite all over its map on most images: conv:2"


def test_an_image_goes_for_a_unit_that_most_images_have_and_a_unit_that_most_have_not_goes_first():
    bad = {(1, 0): INF} | {(n, 3): NAN for n in range(4)}
    found = finite_features("conv", NAMES, table(bad))
    np.testing.assert_array_equal(found.features, table({})[[0, 2, 3, 4], :3])
    assert found.places == (0, 2, 3, 4)
    assert found.left_out == {"b": "a unit of layer 'conv' is NaN or infinite all over its map"}


def test_images_without_any_number_have_no_say_in_which_units_go():
    found = finite_features("conv", NAMES, table({(n, u): NAN for n in (0, 2, 4) for u in range(4)}))
    np.testing.assert_array_equal(found.features, table({})[[1, 3]])
    assert (list(found.left_out), found.units_left_out) == (["a", "c", "e"], ())


def test_many_units_are_not_all_named():
    found = finite_features("conv", NAMES, np.where(np.arange(12) < 10, np.full((5, 12), NAN), 1.0))
    assert found.note("conv").endswith("conv:6, conv:7 and 2 more")


@pytest.mark.parametrize("bad", [NAN, -INF])
def test_nothing_left_is_refused_by_name(bad):
    with pytest.raises(ConvscopeError, match="nothing of layer 'conv' can be laid out: on each of the 5 images"):
        finite_features("conv", NAMES, np.full((5, 4), bad, np.float32))
