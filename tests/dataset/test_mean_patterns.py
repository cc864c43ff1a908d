"""Mean maps a class: the oracle is the mean of the pooled maps of each class, all images at once, in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convscope.dataset.mean_patterns import MeanPatterns, pattern_of

SIZE = (64, 64)


def maps_of(images: int, h: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(images, 3, h, h, generator=torch.Generator().manual_seed(seed))


def gathered(maps: Tensor, labels: np.ndarray, sizes: list[int]) -> MeanPatterns:
    found, start = MeanPatterns(3), 0
    for size in sizes:
        batch = maps[start : start + size]
        if len(batch):
            found.update(pattern_of(batch, SIZE, "layer"), labels[start : start + size])
        start += size
    return found


def check(found: MeanPatterns, maps: Tensor, labels: np.ndarray, cells: int = 14) -> None:
    patterns = found.compute()
    known = sorted(set(labels.tolist()))
    assert patterns.classes.tolist() == known
    for row, label in enumerate(known):
        own = maps[torch.from_numpy(labels == label)].double()
        assert patterns.images[row] == len(own)
        expected = F.adaptive_avg_pool2d(own, cells).mean(0).numpy()
        assert np.allclose(patterns.maps[row], expected, rtol=0, atol=1e-6)


def test_a_pattern_is_the_average_of_each_cell() -> None:
    """Closed form: a map that is 1 in one cell of 14 x 14 on 28 x 28 positions."""
    maps = torch.zeros(1, 1, 28, 28)
    maps[0, 0, 2:4, 26:28] = 1
    expected = np.zeros((1, 1, 14, 14), np.float32)
    expected[0, 0, 1, 13] = 1
    assert np.array_equal(pattern_of(maps, SIZE, "layer"), expected)


def test_a_small_map_is_kept_as_it_is_in_memory_of_its_own() -> None:
    maps = maps_of(2, 8)
    pattern = pattern_of(maps, SIZE, "layer")
    expected = maps.numpy().copy()
    maps.zero_()
    assert np.array_equal(pattern, expected)


@settings(max_examples=30)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=12), st.lists(st.integers(1, 4), min_size=12, max_size=12))
def test_any_split_gives_the_mean_of_each_class(labels: list[int], sizes: list[int]) -> None:
    maps, numbers = maps_of(len(labels)), np.array(labels)
    check(gathered(maps, numbers, sizes), maps, numbers)
    middle = len(labels) // 2
    first = MeanPatterns.from_tensors(gathered(maps[:middle], numbers[:middle], sizes).tensors())
    first.merge(MeanPatterns.from_tensors(gathered(maps[middle:], numbers[middle:], sizes).tensors()))
    check(first, maps, numbers)


def test_one_split_gives_the_same_bits_again() -> None:
    maps, labels = maps_of(9), np.arange(9) % 4
    runs = [gathered(maps, labels, [4, 5]).compute().maps for _ in range(2)]
    assert np.array_equal(*runs)


def test_maps_of_several_sizes_meet_on_the_coarser_grid() -> None:
    small, large = maps_of(2, 8), maps_of(3, 16, seed=1)
    found = gathered(small, np.zeros(2, int), [2])
    found.merge(gathered(large, np.zeros(3, int), [3]))
    assert found.compute().maps.shape == (1, 3, 8, 8)
    coarse = F.adaptive_avg_pool2d(F.adaptive_avg_pool2d(large.double(), 14), 8)
    expected = torch.cat([small.double(), coarse]).mean(0)
    assert np.allclose(found.compute().maps[0], expected, atol=1e-6)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_an_image_with_a_value_that_is_not_finite_is_left_out_of_that_unit(bad: float) -> None:
    maps, labels = maps_of(4), np.array([0, 0, 0, 1])
    maps[1, 2, 3, 3] = bad
    maps[3, 0, 0, 0] = bad
    patterns = gathered(maps, labels, [4]).compute()
    pooled = F.adaptive_avg_pool2d(maps.double(), 14).numpy()
    assert np.allclose(patterns.maps[0, 2], pooled[[0, 2], 2].mean(0), atol=1e-6)
    assert np.allclose(patterns.maps[0, 1], pooled[:3, 1].mean(0), atol=1e-6)
    assert np.isnan(patterns.maps[1, 0]).all()
    assert patterns.images.tolist() == [3, 1]


def test_what_saw_nothing_has_no_patterns() -> None:
    empty = MeanPatterns.from_tensors(MeanPatterns(3).tensors())
    assert empty.compute().maps.shape == (0, 3, 1, 1)
