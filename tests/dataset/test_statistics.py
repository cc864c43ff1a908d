"""Statistics in one pass: the oracle is two passes in float64 over all values at once, for any split of the images."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convscope.dataset import statistics
from convscope.dataset.histograms import bins_at, counted
from convscope.dataset.readings import read_units, sample_places
from convscope.dataset.statistics import ClassStatistics, Statistics, UnitStatistics, class_selectivity

SIZE = (16, 16)
UNITS = 4


def maps_of(images: int, *, h: int = 8, seed: int = 0) -> Tensor:
    """Units of different spread and mean; one is rectified."""
    maps = torch.randn(images, UNITS, h, h, generator=torch.Generator().manual_seed(seed))
    maps = maps * torch.tensor([1.0, 5.0, 0.01, 1.0]).view(-1, 1, 1) + torch.tensor([0.0, 30.0, -1.0, 0.0]).view(
        -1, 1, 1
    )
    maps[:, 3].relu_()
    return maps.contiguous(memory_format=torch.channels_last)


def gathered(maps: Tensor, labels: np.ndarray, sizes: list[int], first: int = 0) -> UnitStatistics:
    """In batches of these sizes."""
    found, start = UnitStatistics(UNITS), 0
    for size in sizes:
        batch = slice(start, start + size)
        if start >= len(maps):
            break
        numbers = np.arange(first + start, first + start + len(maps[batch]))
        found.update(read_units(maps[batch], SIZE, "layer"), labels[batch], numbers)
        start += size
    return found


def by_unit(maps: Tensor) -> np.ndarray:
    return maps.transpose(0, 1).flatten(1).double().numpy()


def check(found: Statistics | ClassStatistics, maps: Tensor, row: int | None = None) -> None:
    """Against two passes over all finite values of each unit."""
    for unit, values in enumerate(by_unit(maps)):
        place = unit if row is None else (row, unit)
        values = values[np.isfinite(values)]
        assert found.count[place] == len(values)
        if not len(values):
            assert np.isnan([found.mean[place], found.variance[place], found.maximum[place]]).all()
            continue
        spread = values.std()
        assert found.mean[place] == pytest.approx(values.mean(), rel=1e-6, abs=1e-6 * spread)
        assert found.variance[place] == pytest.approx(values.var(), rel=2e-5, abs=1e-30)
        assert found.share_positive[place] == pytest.approx((values > 0).mean())
        assert found.maximum[place] == values.max()
        assert found.minimum[place] == values.min()


def check_all(found: Statistics, maps: Tensor, labels: np.ndarray) -> None:
    check(found, maps)
    assert found.images == len(maps)
    known = sorted(set(labels.tolist()) - {-1})
    assert found.by_class.classes.tolist() == known
    for row, label in enumerate(known):
        assert found.by_class.images[row] == (labels == label).sum()
        check(found.by_class, maps[torch.from_numpy(labels == label)], row)


@settings(max_examples=40)
@given(
    labels=st.lists(st.integers(-1, 3), min_size=1, max_size=24),
    cuts=st.lists(st.integers(1, 5), min_size=24, max_size=24),
    held=st.integers(1, 30),
)
def test_any_split_gives_what_two_passes_over_everything_give(labels: list[int], cuts: list[int], held: int) -> None:
    """Batches, how many images are added up at once, and accumulators that go through tensors and are merged."""
    maps, numbers = maps_of(len(labels)), np.array(labels)
    before, statistics.HELD = statistics.HELD, held
    try:
        check_all(gathered(maps, numbers, cuts).compute(), maps, numbers)
        middle = len(labels) // 2
        first, second = gathered(maps[:middle], numbers[:middle], cuts), gathered(maps[middle:], numbers[middle:], cuts)
        first = UnitStatistics.from_tensors(first.tensors())
        first.merge(UnitStatistics.from_tensors(second.tensors()))
        check_all(first.compute(), maps, numbers)
    finally:
        statistics.HELD = before


def equal(first: Statistics, second: Statistics) -> bool:
    """To the last bit."""
    pairs = [(getattr(first, n), getattr(second, n)) for n in Statistics.__dataclass_fields__ if n != "by_class"]
    pairs += [(getattr(first.by_class, n), getattr(second.by_class, n)) for n in ClassStatistics.__dataclass_fields__]
    return all(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f") for a, b in pairs)


def test_tensors_keep_every_bit_and_the_accumulator_can_go_on() -> None:
    maps, labels = maps_of(20), np.arange(20) % 3
    maps[4, 1, 2, 2] = torch.nan
    whole, part = gathered(maps[:12], labels, [5, 7]), gathered(maps[:12], labels, [5, 7])
    again = UnitStatistics.from_tensors(part.tensors())
    assert equal(whole.compute(), again.compute())
    whole.merge(gathered(maps[12:], labels[12:], [8], first=12))
    again.merge(gathered(maps[12:], labels[12:], [8], first=12))
    assert equal(whole.compute(), again.compute())


def test_computing_in_between_changes_no_bit_of_the_classes_and_extremes() -> None:
    maps, labels = maps_of(10), np.zeros(10, int)
    one, other = gathered(maps, labels, [10]), UnitStatistics(UNITS)
    other.update(read_units(maps, SIZE, "layer"), labels, np.arange(10))
    other.compute()
    assert equal(one.compute(), other.compute())


def test_maps_of_several_sizes_weigh_by_their_positions() -> None:
    small, large = maps_of(3, h=4), maps_of(2, h=8, seed=1)
    found = gathered(small, np.zeros(3, int), [3])
    found.update(read_units(large, SIZE, "layer"), np.zeros(2, int), np.arange(3, 5))
    for unit, values in enumerate(np.concatenate([by_unit(small), by_unit(large)], 1)):
        assert found.compute().count[unit] == 3 * 16 + 2 * 64
        assert found.compute().mean[unit] == pytest.approx(values.mean(), rel=1e-6, abs=1e-6 * values.std())
        assert found.compute().variance[unit] == pytest.approx(values.var(), rel=2e-5)


def test_what_is_not_finite_is_counted_with_its_first_image_and_is_in_nothing_else() -> None:
    maps, labels = maps_of(12), np.arange(12) % 2
    maps[7, 0, 0, 0] = torch.nan
    maps[5, 0, :2, 1] = torch.inf
    maps[9, 2] = -torch.inf
    found = gathered(maps, labels, [4, 4, 4], first=100).compute()
    check_all(found, maps, labels)
    assert found.nans.tolist() == [1, 0, 0, 0]
    assert found.infinities.tolist() == [2, 0, 64, 0]
    assert found.nonfinite_images.tolist() == [2, 0, 1, 0]
    assert found.first_nonfinite.tolist() == [105, -1, 109, -1]


def test_the_first_bad_image_is_the_earliest_whatever_order_parts_are_merged_in() -> None:
    maps = maps_of(4)
    maps[1, 0, 0, 0] = maps[3, 0, 0, 0] = torch.nan
    early, late = gathered(maps[:2], np.zeros(2, int), [2]), gathered(maps[2:], np.zeros(2, int), [2], first=2)
    late.merge(early)
    assert late.compute().first_nonfinite[0] == 1


def test_the_histogram_is_of_the_sampled_positions() -> None:
    maps = maps_of(6)
    found = gathered(maps, np.zeros(6, int), [4, 2]).compute()
    bins = bins_at(maps.flatten(2).transpose(1, 2).contiguous().numpy(), sample_places(64, 32))
    assert np.array_equal(found.histogram, counted(bins))
    assert found.histogram.sum() == 6 * 32 * UNITS


def test_quantiles_stay_within_the_extremes() -> None:
    maps = maps_of(50)
    found = gathered(maps, np.zeros(50, int), [50]).compute()
    for unit, values in enumerate(by_unit(maps)):
        assert found.quantile(0.0)[unit] >= values.min()
        assert found.quantile(1.0)[unit] <= values.max()
        assert found.quantile(0.5)[unit] == pytest.approx(np.median(values), abs=0.25 * abs(np.median(values)) + 0.1)


# ---- selectivity ---------------------------------------------------------------------------------------------


def selectivity(*means: list[float]) -> tuple[list[float], list[int]]:
    """Of units with these means in the classes 3, 5, 8, ..."""
    table = np.array(means).T
    some = np.where(np.isnan(table), 0, 1)
    rows = ClassStatistics(
        np.array([3, 5, 8, 9])[: len(table)], some[:, 0], some, *[table] * 4, *[table.astype("f")] * 2
    )
    values, classes = class_selectivity(rows)
    return values.tolist(), classes.tolist()


def test_selectivity_is_that_of_morcos() -> None:
    """Closed form: (3 - 1) / (3 + 1), where 1 is the mean of the others, (0 + 2) / 2."""
    values, classes = selectivity([0.0, 3.0, 2.0], [0.0, 0.0, 4.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    assert values == [0.5, 1.0, 0.0, 0.0]
    assert classes == [5, 8, 3, -1]  # of a unit that nothing excites, none


def test_selectivity_is_of_rectified_maps_also_before_a_relu() -> None:
    """Oracle: class means of max(A, 0) over all positions, which are all sampled here."""
    maps, labels = maps_of(12, h=4) - 0.3, np.arange(12) % 3
    found = gathered(maps, labels, [5, 7]).compute()
    means = np.stack([maps[torch.from_numpy(labels == k)].relu().double().mean((0, 2, 3)).numpy() for k in range(3)])
    assert np.allclose(found.by_class.rectified, means, rtol=1e-6)
    for unit, of_classes in enumerate(means.T):
        rest = (of_classes.sum() - of_classes.max()) / 2
        expected = (of_classes.max() - rest) / (of_classes.max() + rest) if of_classes.any() else 0.0
        assert found.selectivity[unit] == pytest.approx(expected, abs=1e-6)
        assert found.selective_class[unit] == (of_classes.argmax() if of_classes.any() else -1)


def test_selectivity_leaves_out_classes_without_a_value_and_needs_two() -> None:
    values, classes = selectivity([np.nan, 3.0, 1.0], [np.nan, 3.0, np.nan], [np.nan] * 3)
    assert values[0] == 0.5
    assert np.isnan(values[1:]).all()
    assert classes == [5, 5, -1]


def test_without_labels_there_are_no_classes_and_no_selectivity() -> None:
    maps = maps_of(3)
    found = gathered(maps, np.full(3, -1), [3]).compute()
    check_all(found, maps, np.full(3, -1))
    assert np.isnan(found.selectivity).all()
    assert (found.selective_class == -1).all()


def test_an_accumulator_that_saw_nothing() -> None:
    empty = UnitStatistics.from_tensors(UnitStatistics(UNITS).tensors())
    found = empty.compute()
    assert found.images == 0
    assert found.count.tolist() == [0] * UNITS
    assert np.isnan(found.mean).all()
    maps = maps_of(2)
    empty.merge(gathered(maps, np.zeros(2, int), [2]))
    check_all(empty.compute(), maps, np.zeros(2, int))


def test_nothing_is_warned_of() -> None:
    """Empty classes and infinities divide by zero on the way, which is no news."""
    maps = maps_of(4)
    maps[1] = torch.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gathered(maps, np.arange(4), [4])
        found.compute().quantile(0.5)
