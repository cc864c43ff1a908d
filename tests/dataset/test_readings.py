"""What is read from an output: the oracle goes through it value by value, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convscope.dataset import map_sums
from convscope.dataset.compiled import compiled
from convscope.dataset.histograms import bins_at
from convscope.dataset.readings import Readings, read_units, sample_places
from convscope.errors import ConvscopeError

SIZE = (32, 32)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def strided(maps: Tensor) -> Tensor:
    """Every second channel of a larger tensor."""
    return torch.stack([maps, maps], 2).flatten(1, 2)[:, ::2]


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda maps: maps.contiguous(),
    "channels last": channels_last,
    "strided": strided,
    "channels in the last axis": lambda maps: maps.permute(0, 2, 3, 1).contiguous(),
}


def strongest(row: np.ndarray, m: int) -> list[tuple[float, int]]:
    """(value, position), by a full sort; finite ones only."""
    every = [(float(v), place) for place, v in enumerate(row) if np.isfinite(v)]
    every.sort(key=lambda one: (-one[0], one[1]))
    return (every + [(-np.inf, -1)] * m)[:m]


def check(found: Readings, maps: Tensor, m: int = 1, rtol: float = 2e-5) -> None:
    """Against a loop over images and units."""
    b, u, h, w = maps.shape
    assert found.shape == (h, w)
    assert found.values.shape == (m, b, u)
    for i in range(b):
        for k in range(u):
            row = maps[i, k].flatten().numpy()
            expected = strongest(row, m)
            assert found.values[:, i, k].tolist() == [v for v, _ in expected], (i, k)
            places = [(p // w, p % w) if p >= 0 else (-1, -1) for _, p in expected]
            assert list(zip(found.y[:, i, k].tolist(), found.x[:, i, k].tolist(), strict=True)) == places, (i, k)
            check_sums(found, row, i, k, rtol)


def check_sums(found: Readings, row: np.ndarray, i: int, k: int, rtol: float) -> None:
    finite = row[np.isfinite(row)].astype(np.float64)
    assert found.count[i, k] == len(finite)
    assert found.positive[i, k] == (finite > 0).sum()
    assert found.minimum[i, k] == (finite.min() if len(finite) else np.inf)
    mean = finite.mean() if len(finite) else 0.0
    deviation = finite.std() if len(finite) else 0.0
    assert found.mean[i, k] == pytest.approx(mean, rel=1e-6, abs=1e-6 * (deviation + 1e-30))
    assert found.m2[i, k] == pytest.approx(((finite - mean) ** 2).sum(), rel=rtol, abs=1e-30)
    if found.nans is not None:
        assert found.nans[i, k] == np.isnan(row).sum()
        assert found.infinities[i, k] == np.isinf(row).sum()
    else:
        assert len(finite) == len(row)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("u", "h", "w"), [(3, 16, 16), (16, 8, 8), (24, 16, 8), (1, 4, 4), (40, 1, 1), (5, 2, 2)])
def test_readings_are_those_of_a_loop_in_every_layout(layout: str, u: int, h: int, w: int) -> None:
    if layout == "channels in the last axis" and (h != w or h * w < 16):
        pytest.skip("not a grid that can be told from channels")
    maps = normal(3, u, h, w)
    size = SIZE if layout == "channels in the last axis" else (2 * h, 2 * w)
    check(read_units(LAYOUTS[layout](maps), size, "layer"), maps)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("m", [1, 2, 5, 20])
def test_the_strongest_positions_are_those_of_a_stable_sort(m: int, ties: bool) -> None:
    """Also where most values are equal, and where more are asked for than there are."""
    maps = normal(2, 6, 4, 4)
    maps = maps.round().clamp(-1, 1) if ties else maps
    check(read_units(channels_last(maps), SIZE, "layer", per_image=m), maps, m)


def test_equal_values_are_won_by_the_first_position_row_by_row() -> None:
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 1, 2, 1] = maps[0, 1, 1, 3] = maps[0, 1, 3, 0] = 7.0
    found = read_units(channels_last(maps), SIZE, "layer")
    assert (found.y[0, 0, 0], found.x[0, 0, 0]) == (0, 0)
    assert (found.y[0, 0, 1], found.x[0, 0, 1]) == (1, 3)


@pytest.mark.parametrize("odd", [None, float("nan"), float("inf")])
def test_the_rectified_mean_is_of_what_is_above_zero(odd: float | None) -> None:
    """A rectified map's is its mean, to the last bit. Oracle: float64."""
    maps = normal(2, 3, 16, 16)
    maps[:, 0].relu_()
    if odd is not None:
        maps[0, 0, 3, 5] = maps[1, 1, 0, 0] = odd
    found = read_units(channels_last(maps), SIZE, "layer")
    whole = maps.nan_to_num(0, 0, 0).relu().double().flatten(2).sum(2) / torch.from_numpy(found.count)
    assert found.rectified == pytest.approx(whole.numpy(), rel=1e-6)
    assert np.array_equal(found.rectified[:, 0], found.mean[:, 0])


values = st.sampled_from([float("nan"), float("inf"), -float("inf"), -2.5, -0.0, 0.0, 1.0, 1.5, 3e38, -3e38, 1e-30])


@settings(max_examples=60)
@given(st.lists(values, min_size=2 * 3 * 16, max_size=2 * 3 * 16), st.integers(1, 3))
def test_what_is_not_finite_is_counted_apart_and_never_wins(numbers: list[float], m: int) -> None:
    """Huge values too, whose squares float32 cannot hold."""
    maps = torch.tensor(numbers).view(2, 3, 4, 4)
    check(read_units(channels_last(maps), SIZE, "layer", per_image=m), maps, m)


def test_a_value_whose_square_float32_cannot_hold() -> None:
    """Their sum it can: nothing there is NaN."""
    maps = torch.full((1, 1, 4, 4), -2.5)
    maps[0, 0, 3, 3] = 3e38
    check(read_units(channels_last(maps), SIZE, "layer"), maps)


def test_one_bad_map_leaves_the_others_as_they_were() -> None:
    """Oracle: the same batch without it, bit for bit."""
    maps = channels_last(normal(3, 4, 8, 8))
    clean = read_units(maps, SIZE, "layer")
    maps[1, 2] = torch.nan
    found = read_units(maps, SIZE, "layer")
    others = np.ones((3, 4), bool)
    others[1, 2] = False
    for name in ("minimum", "mean", "m2", "positive"):
        assert np.array_equal(getattr(found, name)[others], getattr(clean, name)[others]), name
    assert np.array_equal(found.values[:, others], clean.values[:, others])
    assert clean.nans is None
    assert found.nans[1, 2] == 64
    assert np.argwhere(np.isnan(found.pooled)).tolist() == [[1, 2]]
    assert found.values[0, 1, 2] == -np.inf
    assert found.y[0, 1, 2] == -1


@pytest.mark.parametrize("offset", [10.0, 1e3, 1e5])
def test_the_deviation_is_right_where_the_mean_is_much_larger(offset: float) -> None:
    """Oracle: two passes in float64 over the same float32 values. Plain sums of squares have lost it all at 1e5."""
    maps = normal(2, 8, 16, 16) + offset
    check(read_units(channels_last(maps), SIZE, "layer"), maps, rtol=1e-4)


def test_constant_maps_have_no_deviation() -> None:
    found = read_units(torch.full((2, 3, 4, 4), 0.1), SIZE, "layer")
    assert found.m2.max() < 1e-14
    assert np.allclose(found.mean, np.float32(0.1), rtol=1e-7, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_in_float32(dtype: torch.dtype) -> None:
    maps = normal(2, 3, 8, 8).to(dtype)
    check(read_units(maps, SIZE, "layer"), maps.float())


def test_tokens_are_read_on_their_grid_without_the_leading_one() -> None:
    maps = normal(2, 20, 4, 4)
    tokens = torch.cat([torch.full((2, 1, 20), 99.0), maps.flatten(2).transpose(1, 2)], 1)
    check(read_units(tokens, SIZE, "layer"), maps)


def test_numbers_of_a_fully_connected_layer_are_maps_of_one_position() -> None:
    numbers = normal(4, 7)
    found = read_units(numbers, SIZE, "layer")
    check(found, numbers[:, :, None, None])
    assert not found.m2.any()


def test_the_other_devices_way_gives_the_same() -> None:
    """``map_sums_on_device`` holds on a CPU too, with values that are not finite; oracle: the CPU's own way."""
    maps = normal(2, 16, 8)
    maps[0, 3, 2], maps[1, 0, 5], maps[1, :, 7] = torch.nan, torch.inf, -torch.inf
    for mine, other in zip(map_sums.map_sums(maps.numpy()), map_sums.map_sums_on_device(maps), strict=True):
        assert np.allclose(mine, other, rtol=1e-5)


def test_the_sample_is_of_fixed_positions_spread_over_the_map() -> None:
    maps = normal(2, 3, 16, 16)
    found = read_units(channels_last(maps), SIZE, "layer", sample=10)
    places = sample_places(256, 10)
    expected = bins_at(maps.flatten(2).transpose(1, 2).contiguous().numpy(), places)
    assert np.array_equal(found.bins, expected)
    assert len(set(places.tolist())) == 10
    assert np.diff(np.sort(places)).max() < 3 * 256 / 10


@pytest.mark.parametrize(("n", "samples"), [(1, 64), (16, 16), (169, 32), (12_544, 32), (2**16, 64)])
def test_a_sample_takes_no_position_twice_and_all_of_a_small_map(n: int, samples: int) -> None:
    places = sample_places(n, samples)
    assert len(set(places.tolist())) == min(n, samples)
    assert places.max() < n


def test_readings_outlive_the_output() -> None:
    """Fresh memory: what later layers write does not reach them."""
    maps = channels_last(normal(2, 3, 1, 1))
    found = read_units(maps, SIZE, "layer")
    kept = found.values.copy(), found.minimum.copy(), found.mean.copy()
    maps.zero_()
    assert all(np.array_equal(a, b) for a, b in zip(kept, (found.values, found.minimum, found.mean), strict=True))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.zeros(2, 3, 4, 4, dtype=torch.long), "'layer' gives torch.int64 numbers"),
        (torch.zeros(2, 3, 4, 4, 4), "not maps"),
        (torch.zeros(2, 0, 4, 4), "no values at all"),
    ],
)
def test_an_output_that_holds_no_units_is_refused(output: Tensor, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        read_units(output, SIZE, "layer")


@settings(max_examples=200)
@given(st.integers(1, 1200), st.integers(1, 300), st.integers(1, 3))
def test_sums_are_right_however_the_rows_fall(n: int, u: int, b: int) -> None:
    """More rows than a block, rows left over, several positions a row or one. Oracle: numpy's, in float64."""
    maps = np.random.default_rng(n).standard_normal((b, n, u)).astype(np.float32)
    maps[:, :, 0] = maps[:, :, 0].round()  # equal values in many rows
    found = map_sums.map_sums(maps)
    exact = maps.astype(np.float64)
    assert np.array_equal(found.minimum, maps.min(1))
    assert np.array_equal(found.maximum, maps.max(1))
    assert np.array_equal(found.place, maps.argmax(1))
    assert np.array_equal(found.positive, (maps > 0).sum(1))
    assert np.allclose(found.mean, exact.mean(1), rtol=1e-6, atol=1e-6)
    assert np.allclose(found.rectified, np.maximum(exact, 0).mean(1), rtol=1e-5, atol=1e-9)
    assert np.allclose(found.m2, exact.var(1) * n, rtol=1e-4, atol=1e-9)


def test_a_map_is_read_the_same_in_whatever_company() -> None:
    """Oracle: each image, and each half of the units, alone. Bit for bit for images; units may share other rows."""
    maps = np.random.default_rng(0).standard_normal((3, 700, 40)).astype(np.float32)
    maps[1, 5, 3] = np.nan
    together = map_sums.map_sums(maps)
    for i in range(3):
        alone = map_sums.map_sums(maps[i : i + 1])
        assert all(np.array_equal(all_[i], one[0]) for all_, one in zip(together, alone, strict=True))
    half = map_sums.map_sums(np.ascontiguousarray(maps[:, :, :20]))
    for name in ("maximum", "minimum", "place", "positive", "nans", "infinities"):
        assert np.array_equal(getattr(together, name)[:, :20], getattr(half, name)), name


def test_without_a_folder_to_keep_it_in_the_machine_code_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_cache(*_: object, cache: bool = False, **__: object) -> Callable[[Any], Any]:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr("numba.njit", without_cache)
    assert compiled(abs)(-3) == 3
