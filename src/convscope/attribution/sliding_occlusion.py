"""Occlusion: cover a square of the image, look what the score loses, and slide on.

Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks", arXiv:1311.2901, section 4.2.
For a square w at each of ceil((H - size) / stride) + 1 positions an axis (the last one is cut at the edge):

    drop(w) = S(x) - S(x with w filled)

Four readings: ``"pixels"`` (each pixel's mean drop over the squares that cover it, at the image's size),
``"drop"`` and ``"score"`` (one cell a position; the latter is the paper's heat map: the score with the square
there), ``"class"`` (the class that the network names then).

Pitfalls: 0 of the normalised input is the mean colour, not black. A stride larger than the square would leave
pixels unseen, and is refused. Squares that wrap round, or a last partial stride that is dropped, shift the map.
What is seen depends on the size of the square: a small one tears no object from a wide receptive field.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from convscope.attribution.fillings import Fill, filling
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.passes import Inputs, explained_input
from convscope.network.questions import Question, check_batch, questions, top_class
from convscope.network.targets import Target

Reading = Literal["pixels", "drop", "score", "class"]


@dataclass(frozen=True)
class Squares:
    """Where the squares lie: ``(n, 4)`` boxes y0 x0 y1 x1, half open, row by row, on a grid of rows x columns."""

    boxes: Int[Tensor, "n 4"]
    rows: int
    columns: int


Engine = Callable[[Question, Tensor, Tensor, Squares, int, Callable[[int, int], None]], Tensor]


def squares(height: int, width: int, size: int | tuple[int, int], stride: int | tuple[int, int]) -> Squares:
    """All positions of the sliding square, the last of each axis cut at the edge.

    Raises:
        ConvscopeError: a size that does not fit, or a stride that would leave pixels unseen.
    """
    (size_y, size_x), (stride_y, stride_x) = _pair(size), _pair(stride)
    for what, side, s, step in (("high", height, size_y, stride_y), ("wide", width, size_x, stride_x)):
        if not 1 <= s <= side:
            raise ConvscopeError(f"an occluding square of {s} px does not fit an image {side} px {what} (1 to {side})")
        if not 1 <= step <= s:
            raise ConvscopeError(f"stride {step} with a square of {s} px: take 1 to {s}, or pixels go unseen")
    ys, xs = _starts(height, size_y, stride_y), _starts(width, size_x, stride_x)
    boxes = [(y, x, min(y + size_y, height), min(x + size_x, width)) for y in ys for x in xs]
    return Squares(torch.tensor(boxes), len(ys), len(xs))


def square_of(
    height: int, width: int, size: int | tuple[int, int] | None, stride: int | tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size and stride (height, width): as given, else a quarter of the shorter side, and half the size."""
    sides = _pair(max(1, min(height, width) // 4) if size is None else size)
    return sides, (max(1, sides[0] // 2), max(1, sides[1] // 2)) if stride is None else _pair(stride)


def _starts(side: int, size: int, stride: int) -> list[int]:
    return [i * stride for i in range(math.ceil((side - size) / stride) + 1)]


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def plain_engine(
    ask: Question, image: Tensor, filled: Tensor, at: Squares, batch: int, on_step: Callable[[int, int], None]
) -> Float[Tensor, " n"] | Int[Tensor, " n"]:
    """The score of each occluded image, by whole passes of ``batch`` images: the reference for faster engines.

    ``image`` and ``filled`` are ``(1, c, H, W)``; a square shows ``filled`` and the rest shows ``image``.
    """
    found: list[Tensor] = []
    for boxes in at.boxes.split(batch):
        occluded = image.repeat(len(boxes), 1, 1, 1)
        for one, (y0, x0, y1, x1) in zip(occluded, boxes.tolist(), strict=True):
            one[:, y0:y1, x0:x1] = filled[0, :, y0:y1, x0:x1]
        found.append(ask(occluded))
        on_step(sum(map(len, found)), len(at.boxes))
    return torch.cat(found)


def occlusion(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    size: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    fill: Fill = None,
    reading: Reading = "pixels",
    score: str = "logit",
    batch: int = 32,
    engine: Engine = plain_engine,
    generator: torch.Generator | None = None,
    on_step: Callable[[int, int], None] | None = None,
    wrt: int | str = 0,
) -> Float[Tensor, "b h w"] | Int[Tensor, "b h w"]:
    """Slide a square over each image and read what the score loses.

    Args:
        model: any module; given back as it was.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs of which ``wrt`` is covered.
        target: see ``gradient``; None is the top class of the whole image.
        size: of the square in pixels (height and width), by default a quarter of the shorter side.
        stride: at most ``size``, by default half of it.
        fill: None or ``"mean"`` is 0 of the normalised input; a number or one a channel, in normalised units;
            an image ``(1 or b, c, H, W)``; ``"blur"`` of the image itself; ``"noise"``, standard normal.
        reading: ``"pixels"`` -> (b, H, W); ``"drop"``, ``"score"``, ``"class"`` -> one cell a position.
        score: ``"logit"`` or ``"probability"``.
        batch: occluded images in one pass; memory grows with it and not with the number of positions.
        engine: what computes the scores; ``plain_engine`` is the reference.
        generator: for ``fill="noise"``.
        on_step: called with (done, all) positions.
        wrt: which of several inputs is covered; the others repeat with its batch.

    Raises:
        ConvscopeError: sizes that do not fit, an unknown reading or fill, a target out of range.
    """
    if reading not in ("pixels", "drop", "score", "class"):
        raise ConvscopeError(f"reading={reading!r} is none of 'pixels', 'drop', 'score', 'class'")
    check_batch(batch)
    image = explained_input(x, wrt).detach()
    if image.ndim != 4:
        raise ConvscopeError(f"the occluded input has shape {tuple(image.shape)}; it must be (b, c, H, W)")
    b, _, height, width = image.shape
    at = squares(height, width, *square_of(height, width, size, stride))
    filled = filling(image, fill, generator)
    asked = questions(model, x, target=target, score=score, wrt=wrt)
    maps: list[Tensor] = []
    with evaluation(model), torch.no_grad():
        for i, ask in enumerate(asked):

            def tell(done: int, every: int, i: int = i) -> None:
                if on_step is not None:
                    on_step(i * every + done, b * every)

            ask = replace(ask, target=top_class) if reading == "class" else ask
            scores = engine(ask, ask.image, filled[i : i + 1], at, batch, tell)
            whole = ask(ask.image) if reading in ("pixels", "drop") else None
            maps.append(_read(scores, whole, at, reading, (height, width)))
    return torch.stack(maps)


def covering_mean(drops: Float[Tensor, " n"], at: Squares, size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Each pixel's mean over the squares that cover it."""
    total, count = drops.new_zeros(size), drops.new_zeros(size)
    for drop, (y0, x0, y1, x1) in zip(drops, at.boxes.tolist(), strict=True):
        total[y0:y1, x0:x1] += drop
        count[y0:y1, x0:x1] += 1
    return total / count


def _read(scores: Tensor, whole: Tensor | None, at: Squares, reading: Reading, size: tuple[int, int]) -> Tensor:
    if whole is None:
        values = scores
    else:
        values = whole - scores
        if reading == "pixels":
            return covering_mean(values if values.dtype == torch.float64 else values.float(), at, size)
    values = values.reshape(at.rows, at.columns)
    return values if values.dtype in (torch.float64, torch.int64) else values.float()
