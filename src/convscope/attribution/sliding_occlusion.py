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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.passes import Inputs, explained_input, forward
from convscope.network.targets import Target, aim, class_logits

Reading = Literal["pixels", "drop", "score", "class"]
Fill = None | int | float | Sequence[float] | Tensor | Literal["mean", "blur", "noise"]

BLUR_SIGMA_FRACTION = 0.05  # of the image's shorter side: nothing but large shapes of the covered part remains


@dataclass(frozen=True)
class Squares:
    """Where the squares lie: ``(n, 4)`` boxes y0 x0 y1 x1, half open, row by row, on a grid of rows x columns."""

    boxes: Int[Tensor, "n 4"]
    rows: int
    columns: int


@dataclass(frozen=True, eq=False)
class Question:
    """What is read off the network for each occluded version of one image.

    ``inputs`` are the network's for that image, ``(1, ...)`` each; the occluded images take the place of ``wrt``,
    and the others repeat with them.
    """

    model: nn.Module
    target: Target
    score: str
    inputs: Inputs
    wrt: int | str = 0

    def __call__(self, images: Float[Tensor, "n c H W"]) -> Tensor:
        """``(n,)`` scores, without a graph."""
        inputs = _each(self.inputs, self.wrt, images, lambda other: other.expand(len(images), *other.shape[1:]))
        with torch.no_grad():
            return forward(self.model, inputs, target=self.target, score=self.score, wrt=self.wrt).scores.detach()


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
    if batch < 1:
        raise ConvscopeError(f"batch={batch}: at least one image goes through the network at a time")
    image = explained_input(x, wrt).detach()
    if image.ndim != 4:
        raise ConvscopeError(f"the occluded input has shape {tuple(image.shape)}; it must be (b, c, H, W)")
    b, _, height, width = image.shape
    at = squares(height, width, *square_of(height, width, size, stride))
    filled = _filling(image, fill, generator)
    targets = _target_of_each(model, x, target, wrt)
    maps: list[Tensor] = []
    with evaluation(model), torch.no_grad():
        for i in range(b):

            def tell(done: int, every: int, i: int = i) -> None:
                if on_step is not None:
                    on_step(i * every + done, b * every)

            one = image[i : i + 1]
            inputs = _each(x, wrt, one, lambda other, i=i: _row(other, i, b))
            ask = Question(model, _top if reading == "class" else targets[i], score, inputs, wrt)
            scores = engine(ask, one, filled[i : i + 1], at, batch, tell)
            whole = ask(one) if reading in ("pixels", "drop") else None
            maps.append(_read(scores, whole, at, reading, (height, width)))
    return torch.stack(maps)


def _row(other: Tensor, image: int, count: int) -> Tensor:
    """What another input says of one image."""
    if other.ndim == 0 or len(other) != count:
        raise ConvscopeError(
            f"an input of shape {tuple(other.shape)} beside {count} images: each other input has a row an image"
        )
    return other[image : image + 1]


def _each(x: Inputs, wrt: int | str, explained: Tensor, of_other: Callable[[Tensor], Tensor]) -> Inputs:
    """The inputs with ``explained`` in the place of ``wrt``, and ``of_other`` of all others."""
    if isinstance(x, Tensor):
        return explained
    if isinstance(x, Mapping):
        key = next(iter(x)) if wrt == 0 else wrt
        return {name: explained if name == key else of_other(other) for name, other in x.items()}
    return tuple(explained if i == wrt else of_other(other) for i, other in enumerate(x))


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


def _top(output: Any) -> Tensor:
    return class_logits(output).argmax(1)


def _target_of_each(model: nn.Module, x: Inputs, target: Target, wrt: int | str) -> list[Target]:
    """The target for each image; the top class is that of the whole image, not of each occluded one."""
    count = len(explained_input(x, wrt))
    if target is None:
        with evaluation(model), torch.no_grad():
            return list(_top(forward(model, x, wrt=wrt).output).tolist())
    aimed = aim(target).target
    wanted: list[Target] = aimed if isinstance(aimed, list) else [aimed] * count
    if len(wanted) != count:
        raise ConvscopeError(f"{len(wanted)} targets for {count} images: give one for all, or one an image")
    return wanted


def _filling(x: Tensor, fill: Fill, generator: torch.Generator | None) -> Tensor:
    """``(b, c, H, W)``: what a covered pixel shows."""
    if fill is None or fill == "mean":
        return torch.zeros_like(x)
    if isinstance(fill, str):
        if fill == "noise":
            device = generator.device if generator is not None else None  # drawn where the generator lives
            return torch.randn(x.shape, generator=generator, dtype=torch.float32, device=device).to(x)
        if fill == "blur":
            return blur(x, BLUR_SIGMA_FRACTION * min(x.shape[2:]))
        raise ConvscopeError(f"fill={fill!r} is none of 'mean', 'blur', 'noise', a number, one a channel, an image")
    values = torch.as_tensor(fill).to(x)
    if values.ndim == 0 or (values.ndim == 1 and len(values) in (1, x.shape[1])):
        return values.reshape(1, -1, 1, 1).expand_as(x)
    if values.ndim == 4 and values.shape[0] in (1, len(x)) and values.shape[1:] == x.shape[1:]:
        return values.expand_as(x)
    raise ConvscopeError(
        f"fill of shape {tuple(values.shape)} for images {tuple(x.shape)}: one number, one a channel, or images"
    )


def blur(x: Float[Tensor, "b c H W"], sigma_px: float) -> Float[Tensor, "b c H W"]:
    """Gaussian blur, edges repeated."""
    radius = max(1, math.ceil(3 * sigma_px))
    offsets = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = (-0.5 * (offsets / sigma_px) ** 2).exp()
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1)
    x = F.pad(x, (radius,) * 4, mode="replicate")
    x = F.conv2d(x, kernel[:, None, :, None], groups=x.shape[1])
    return F.conv2d(x, kernel[:, None, None, :], groups=x.shape[1])
