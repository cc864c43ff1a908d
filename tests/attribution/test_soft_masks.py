"""RISE's masks: of one mean and spread at every pixel, borders too; exact over all shifts, and as they are drawn."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from convscope.attribution.random_masks import MaskGrid, draw_masks, mask_grid, smooth_masks
from tests import nets

EXACT = {"rtol": 0, "atol": 1e-12}
SIZES = [((12, 12), 3), ((12, 15), (2, 5)), ((13, 10), 7), ((9, 8), 4), ((5, 3), 7), ((1, 1), 7), ((6, 7), 1)]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(count: int, size: tuple[int, int], *, keep: float = 0.5, cells: Any = 7, seed: int = 0) -> Tensor:
    return draw_masks(count, mask_grid(size, cells), keep, seeded(seed)).double()


def cell_weights(grid: MaskGrid) -> Tensor:
    """``(shifts, cells, H, W)``: how much of each cell is in each pixel of a mask, for every shift there is."""
    ones = torch.eye(grid.rows * grid.columns, dtype=torch.float64).reshape(-1, grid.rows, grid.columns)
    every = product(range(grid.cell[0]), range(grid.cell[1]))
    return torch.stack([smooth_masks(ones, [shift] * len(ones), grid) for shift in every])


@pytest.mark.parametrize(("size", "cells"), SIZES)
def test_every_pixel_has_a_mask_of_the_same_mean_and_spread_at_the_borders_too(size: Any, cells: Any) -> None:
    """Exact, over all shifts: the cells' weights in a pixel add to 1, and their squares' mean is the closed form.

    A mask's pixel is sum_j w_j c_j with independent cells c_j of mean p: mean p sum_j w_j, variance
    p (1 - p) sum_j w_j^2.
    """
    grid = mask_grid(size, cells)
    weights = cell_weights(grid)
    assert torch.allclose(weights.sum(1), torch.ones(()).double(), **EXACT)
    q = []
    for side in grid.cell:
        fractions = [((i + 0.5) / side - 0.5) % 1 for i in range(side)]
        q.append(sum(u**2 + (1 - u) ** 2 for u in fractions) / side)
    spread = weights.square().sum(1).mean(0)
    assert torch.allclose(spread, torch.full(size, q[0] * q[1], dtype=torch.float64), **EXACT)


@pytest.mark.parametrize(("size", "cells"), SIZES)
def test_the_same_pair_of_pixels_shares_as_much_wherever_it_lies(size: Any, cells: Any) -> None:
    """Exact: the covariance of neighbours, which gives the map its resolution, is that of the middle everywhere."""
    weights = cell_weights(mask_grid(size, cells))
    for dy, dx in ((0, 1), (1, 0), (1, 2)):
        if dy >= size[0] or dx >= size[1]:
            continue
        first, second = weights[..., : size[0] - dy, : size[1] - dx], weights[..., dy:, dx:]
        shared = (first * second).sum(1).mean(0)
        assert torch.allclose(shared, shared[0, 0].expand_as(shared), **EXACT)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.8])
def test_the_mean_of_drawn_masks_is_p_at_every_pixel(keep: float) -> None:
    """Statistical: 4,000 masks, each pixel within 5 standard errors; at the edges, where padding would be short."""
    masks = drawn(4000, (28, 21), keep=keep)
    error = math.sqrt(keep * (1 - keep) / len(masks))
    assert (masks.mean(0) - keep).abs().max() < 5 * error
    edge = torch.cat([masks[:, 0].flatten(), masks[:, -1].flatten(), masks[..., 0].flatten(), masks[..., -1].flatten()])
    assert abs(edge.mean() - keep) < 0.01
    assert masks.min() >= 0
    assert masks.max() <= 1


@pytest.mark.parametrize(("size", "cells"), SIZES)
def test_a_mask_is_a_slow_enlargement_of_its_cells(size: Any, cells: Any) -> None:
    """Pixel by pixel: between the centres of cells, which lie ``cell`` pixels apart, linear; never beyond the outer."""
    grid = mask_grid(size, cells)
    values = nets.images(1, 1, grid.rows, grid.columns)[0]
    for shift in {(0, 0), (grid.cell[0] - 1, grid.cell[1] - 1), (grid.cell[0] // 2, 0)}:
        (found,) = smooth_masks(values, [shift], grid)
        for i, j in product(range(size[0]), range(size[1])):
            y, x = (
                (at + side // 2 + s + 0.5) / side - 0.5 for at, side, s in zip((i, j), grid.cell, shift, strict=True)
            )
            top, left, down, across = int(y), int(x), y % 1, x % 1
            assert y >= 0
            assert x >= 0
            expected = 0.0
            for a, b in product((0, 1), (0, 1)):
                share = (down if a else 1 - down) * (across if b else 1 - across)
                if share:
                    expected += share * values[0, top + a, left + b].item()
            assert found[i, j].item() == pytest.approx(expected, abs=1e-12)


def test_cells_are_as_many_as_asked_and_a_pixel_at_least() -> None:
    assert mask_grid((224, 224), 7) == MaskGrid((224, 224), (32, 32), 9, 9)
    assert mask_grid((224, 300), (7, 10)) == MaskGrid((224, 300), (32, 30), 9, 12)
    assert mask_grid((4, 1), 7) == MaskGrid((4, 1), (1, 1), 6, 3)


def test_masks_come_from_the_generator_however_many_at_a_time() -> None:
    grid = mask_grid((13, 10), 7)
    whole = draw_masks(20, grid, 0.5, seeded(3))
    same = seeded(3)
    assert torch.equal(torch.cat([draw_masks(n, grid, 0.5, same) for n in (1, 7, 12)]), whole)
    assert not torch.equal(draw_masks(20, grid, 0.5, seeded(4)), whole)
    assert whole.unique(dim=0).shape == whole.shape
