"""RISE: hide the picture under random soft masks, and average the masks by what the network still says.

Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models", arXiv:1806.07421, eq. 6.
With M_1 ... M_N masks of mean p (``keep``) and S the score, here the class's probability:

    map = 1 / (N p) * sum_i S(x * M_i) M_i

An estimate of the mean score while a pixel shows. Where a mask is 0 the picture has the mean colour (0 of the
normalised input). The network is a black box: no layer, no gradient.

Masks (section 3.2): a coarse grid of cells, each 1 with probability p, else 0; enlarged bilinearly by the size of a
cell; shifted by a whole number of pixels, uniform over one cell; cropped. The paper enlarges 7 x 7 cells to 8 cells'
room and crops that: masks at the border then come more often from the outermost row of cells, where there is nothing
to interpolate with. Their mean is p all the same, but their spread is larger, and so is the map's noise. Here the
grid has a cell more on each side, and every pixel, at the border too, has a mask of the same distribution:

    mean p,   variance p (1 - p) q_y q_x,   q = mean over a cell's pixels of u^2 + (1 - u)^2, about 2/3

with u and 1 - u the bilinear weights of the two cells that a pixel lies between on that axis.

Pitfalls: without 1 / (N p) the numbers mean nothing. The map is not zero where a pixel does not matter: it is the mean
score under a mask there, so that what explains is the difference between places. Few masks give blotches that look
like evidence; two seeds tell (maps of two on the bundled network, four photos, correlate by 0.53 to 0.73 at 250 masks,
0.65 to 0.88 at 1,000, 0.83 to 0.95 at 4,000).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import index

import torch
from jaxtyping import Float
from torch import Tensor, nn

from convscope.attribution.activation_maps import upsample
from convscope.attribution.layer_maps import image_size
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.passes import Inputs, raw
from convscope.network.questions import Question, check_batch, questions
from convscope.network.targets import Target, aim

Cells = int | tuple[int, int]


@dataclass(frozen=True)
class MaskGrid:
    """How masks of ``size`` (H, W) are made: from ``rows`` x ``columns`` cells of ``cell`` pixels (down, across).

    One cell more on each side than a mask takes: what is cropped never reaches the outermost half cell.
    """

    size: tuple[int, int]
    cell: tuple[int, int]
    rows: int
    columns: int


def mask_grid(size: tuple[int, int], cells: Cells) -> MaskGrid:
    """The grid for ``cells`` cells over the picture, or (rows, columns) of them; a cell is a pixel at least."""
    try:
        down, across = map(index, cells if isinstance(cells, Sequence) else (cells, cells))
    except (TypeError, ValueError):
        raise ConvscopeError(f"cells={cells!r}: give a whole number, or two as (rows, columns)") from None
    if min(down, across) < 1:
        raise ConvscopeError(f"cells={cells}: a mask has at least one cell a side")
    cell = (math.ceil(size[0] / down), math.ceil(size[1] / across))
    return MaskGrid(size, cell, math.ceil(size[0] / cell[0]) + 2, math.ceil(size[1] / cell[1]) + 2)


def smooth_masks(
    grids: Float[Tensor, "n rows columns"], shifts: Sequence[tuple[int, int]], grid: MaskGrid
) -> Float[Tensor, "n H W"]:
    """Each grid enlarged, bilinear, and cropped ``shifts[i]`` pixels (down, across) from its first cell's middle."""
    (down, across), (height, width) = grid.cell, grid.size
    enlarged = upsample(grids, (grid.rows * down, grid.columns * across))
    corners = [(down // 2 + y, across // 2 + x) for y, x in shifts]
    crops = [one[y : y + height, x : x + width] for one, (y, x) in zip(enlarged, corners, strict=True)]
    return torch.stack(crops)


def draw_masks(count: int, grid: MaskGrid, keep: float, generator: torch.Generator) -> Float[Tensor, "n H W"]:
    """``count`` random masks, on the generator's device.

    Drawn one after the other: the same masks, however many at a time.
    """
    grids, shifts = list[Tensor](), list[tuple[int, int]]()
    for _ in range(count):
        cells = (grid.rows, grid.columns)
        drawn = torch.rand(cells, generator=generator, device=generator.device, dtype=torch.float32)
        grids.append((drawn < keep).float())
        y, x = (int(torch.randint(s, (1,), generator=generator, device=generator.device)) for s in grid.cell)
        shifts.append((y, x))
    return smooth_masks(torch.stack(grids), shifts, grid)


def mask_sum(scores: Float[Tensor, " n"], masks: Float[Tensor, "n H W"]) -> Float[Tensor, "H W"]:
    """sum_i S_i M_i: over N masks of mean p and divided by N p, eq. 6 of Petsiuk et al. 2018."""
    return torch.einsum("n,nhw->hw", scores, masks)


def rise(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    masks: int = 4000,
    keep: float = 0.5,
    cells: Cells = 7,
    score: str = "probability",
    batch: int = 32,
    generator: torch.Generator | None = None,
    on_step: Callable[[int, int], None] | None = None,
    wrt: int | str = 0,
) -> Float[Tensor, "b H W"]:
    """sum_i S(x * M_i) M_i / (N p) over N random masks of mean p.

    All images of a batch see the same masks: each has the map that it would have alone, with the same generator.

    Args:
        model: any module; given back as it was. No gradient is taken.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs of which ``wrt`` is masked.
        target: see ``gradient``; None is the top class of the whole image.
        masks: N, and as many passes an image; memory does not grow with it.
        keep: p, the share of the picture that a mask shows, between 0 and 1.
        cells: of a mask over the picture, down and across, or (rows, columns).
        score: of a class, ``"probability"`` or ``"logit"``; a unit's is its activation, a function's its value.
        batch: masked images in one pass; memory grows with it.
        generator: of the masks; by default a new one with seed 0, so that the same call gives the same map.
        on_step: called with (done, all) masked images.
        wrt: which of several inputs is masked; the others repeat with its batch.

    Raises:
        ConvscopeError: no mask, no cell, a share that is none or so small that every mask is empty, a target out
            of range.
    """
    _check(masks, keep, batch)
    asked = [_with_own_score(ask) for ask in questions(model, x, target=target, score=score, wrt=wrt)]
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    grid = mask_grid(image_size(x, wrt), cells)
    with evaluation(model), torch.no_grad():
        total, shown = [torch.zeros_like(raw(ask.image[0, 0])) for ask in asked], False
        for start in range(0, masks, batch):
            drawn = draw_masks(min(batch, masks - start), grid, keep, generator).to(total[0])
            shown = shown or bool(drawn.any())
            for i, ask in enumerate(asked):
                scores = raw(ask(ask.image * drawn[:, None].to(ask.image)))
                total[i] += mask_sum(scores.to(drawn), drawn)
                if on_step is not None:
                    on_step(start * len(asked) + (i + 1) * len(drawn), masks * len(asked))
        if not shown:  # the zeros would read as a score of zero
            raise ConvscopeError(f"keep={keep}: none of {masks} masks shows any of the picture; give a larger share")
        return torch.stack(total) / (masks * keep)


def _check(masks: int, keep: float, batch: int) -> None:
    for name, count in (("masks", masks), ("batch", batch)):
        try:
            index(count)
        except TypeError:
            raise ConvscopeError(f"{name}={count!r}: give a whole number") from None
    if masks < 1:
        raise ConvscopeError(f"masks={masks}: at least one mask is needed")
    if not 0 < keep < 1:
        raise ConvscopeError(f"keep={keep}: a mask shows a share of the picture between 0 and 1")
    check_batch(batch)


def _with_own_score(ask: Question) -> Question:
    """A unit has an activation and no probability, which is the default for classes only."""
    return replace(ask, score="logit") if aim(ask.target).units else ask
