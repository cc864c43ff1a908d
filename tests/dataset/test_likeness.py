"""Neighbours: oracle numpy's ``corrcoef`` in float64 and a full sort."""

import numpy as np
import pytest

from convscope.dataset import likeness
from convscope.dataset.likeness import nearest_units


def features(seed: int = 0, images: int = 30, units: int = 12) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(images, units)).astype(np.float32)
    drawn[:, 3] += 20 * drawn[:, 1]  # r = 0.999
    drawn[:, 4] -= 10 * drawn[:, 1]  # r = -0.995
    drawn[:, 5] = 7.3  # constant
    return drawn


@pytest.mark.parametrize("block", [5, 512])
def test_nearest_are_the_first_of_a_full_sort_of_the_correlations(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "BLOCK", block)
    given = features()
    nearest, values = nearest_units(given, 4)
    varies = [u for u in range(12) if u != 5]
    r = np.corrcoef(given[:, varies].astype(np.float64), rowvar=False)
    for row, unit in enumerate(varies):
        others = sorted((-r[row, k], varies[k]) for k in range(len(varies)) if k != row)[:4]
        assert np.allclose(values[unit], [-value for value, _ in others], atol=1e-6)
        assert nearest[unit].tolist() == [other for _, other in others]
    assert nearest[1, 0] == 3
    assert nearest[5].tolist() == [-1] * 4
    assert 5 not in nearest


def test_what_only_rounding_moves_is_constant() -> None:
    given = features()
    given[:, 5] = np.float32(1e4) + np.random.default_rng(1).integers(0, 2, 30) * np.spacing(np.float32(1e4))
    assert 5 not in nearest_units(given)[0]


def test_equal_correlations_go_to_the_smaller_unit_and_nan_to_nobody() -> None:
    given = np.random.default_rng(2).normal(size=(10, 5)).astype(np.float32)
    given[:, 1] = given[:, 3] = given[:, 4] = given[:, 0]
    given[0, 2] = np.nan
    nearest, values = nearest_units(given)
    assert nearest[0].tolist() == [1, 3, 4, -1]
    assert values[0, :3].tolist() == [1, 1, 1]
    assert nearest[2].tolist() == [-1] * 4


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (5, 1)])
def test_too_little_to_compare(shape: tuple[int, int]) -> None:
    nearest, values = nearest_units(np.ones(shape, np.float32))
    assert (nearest == -1).all()
    assert np.isnan(values).all()
