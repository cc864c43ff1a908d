"""Which pixels a unit sees: the algebra of windows along one axis, and of boxes in the plane.

Claim. One operation, along one axis, is told by the inputs that its units read, its *reach*: unit ``i`` reads

    advance * (i // period) + t   for t in taps[i % period].

A convolution of kernel k, stride s, padding p, dilation d has period 1, advance s and taps -p, d - p, ..., (k-1)d - p;
its transpose has period s and advance 1. A stack of operations is then read off by substitution. A unit's *window*
is its first and last pixel; with j the stride so far, one more convolution gives the well-known

    r' = r + d (k - 1) j,   j' = j s

(Araujo, Norris & Sim, "Computing receptive fields of convolutional neural networks", Distill 2019), and branches
that meet give the hull of their windows, provided that they move at the same speed.

Two readings of the same reach:
- ``Window``: on a plane without borders, what a unit in the middle of a large enough input sees. None stands for
  the whole input: an operation without a reach (a global pooling), or branches that drift apart.
- ``Boxes``: on the maps as they are, for every unit. What falls outside *any* inner map is dropped there, which is
  smaller than clipping the window at the image: the rows that a padded convolution reads outside its input are
  zeros, not pixels. With dilation the hull cannot be clipped as an interval either: unit 1 of a dilated
  convolution (taps -1, 1, 3 around it) starts at 1, not at 0. So inputs are listed one by one.

Symbols: ``reach.taps`` t, ``reach.advance``; ``window.advance / len(window.spans)`` is the stride j.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

Span: TypeAlias = tuple[int, int] | None  # first and last pixel; None: no pixel at all
Indices: TypeAlias = Int[np.ndarray, "_units _taps"]
# (y0, x0, -y1, -x1) of every unit, half-open: so that a hull is a minimum in all four
Boxes: TypeAlias = Int[np.ndarray, "4 _h _w"]

NOTHING = np.iinfo(np.int64).max // 2  # "no pixel": larger than any coordinate, and safe to negate
LONGEST_PERIOD = 4096  # units; beyond it resizings of odd ratios are stacked, and nothing repeats in practice


@dataclass(frozen=True, eq=False)
class Reach:
    """The inputs that each unit of one operation reads along one axis; see the module's docstring.

    ``taps`` holds the rule away from the borders, one entry a phase; None where there is none (the operation treats
    each unit in its own way). ``table`` lists what every unit of this very map reads, ``(units, taps)`` with -1 for
    nothing; None where the rule holds up to the border and what falls outside is dropped.
    """

    taps: tuple[tuple[int, ...], ...] | None
    advance: int = 1
    table: Indices | None = None

    def indices(self, inputs: int, units: int) -> Indices:
        """``(units, taps)`` indices of the inputs read on a map of ``inputs`` rows, -1 for those outside it."""
        if self.table is not None:
            return self.table
        assert self.taps is not None, "a reach has a rule or a table"
        widest = max(len(taps) for taps in self.taps)
        rule = np.array([[*taps, *[NOTHING] * (widest - len(taps))] for taps in self.taps], dtype=np.int64)
        unit = np.arange(units)
        read = rule[unit % len(self.taps)] + (self.advance * (unit // len(self.taps)))[:, None]
        return np.where((read >= 0) & (read < inputs), read, -1)


IDENTITY = Reach(((0,),))


@dataclass(frozen=True)
class Window:
    """First and last pixel of unit ``i``: ``spans[i % period]``, moved by ``advance`` pixels a period."""

    spans: tuple[Span, ...]
    advance: int

    def of(self, unit: int) -> Span:
        """The window of one unit, on the plane without borders."""
        periods, phase = divmod(unit, len(self.spans))
        span = self.spans[phase]
        return None if span is None else (span[0] + periods * self.advance, span[1] + periods * self.advance)

    def through(self, reach: Reach) -> "Window | None":
        """The windows one operation further up; None where it has no rule, or nothing repeats."""
        if reach.taps is None:
            return None
        # the smallest number of the reach's periods after which its inputs have moved by whole periods of ours
        repeats = len(self.spans) // math.gcd(reach.advance, len(self.spans))
        period = repeats * len(reach.taps)
        if period > LONGEST_PERIOD:
            return None
        spans: list[Span] = []
        for unit in range(period):
            start = reach.advance * (unit // len(reach.taps))
            spans.append(hull(self.of(start + tap) for tap in reach.taps[unit % len(reach.taps)]))
        moved = self.advance * (reach.advance * repeats // len(self.spans))
        return Window(tuple(spans), moved).shortest()

    def shortest(self) -> "Window":
        """The same windows with the shortest period that tells them."""
        period = len(self.spans)
        for shorter in range(1, period):
            if period % shorter or self.advance * shorter % period:
                continue
            window = Window(self.spans[:shorter], self.advance * shorter // period)
            if all(window.of(unit) == self.spans[unit] for unit in range(period)):
                return window
        return self

    @property
    def size(self) -> int:
        """Pixels from first to last, of the largest window."""
        return max(span[1] - span[0] + 1 for span in self.spans if span is not None)

    @property
    def stride(self) -> int | float:
        """Pixels from one unit's window to the next one's, on average over a period."""
        whole, rest = divmod(self.advance, len(self.spans))
        return self.advance / len(self.spans) if rest else whole

    @property
    def first(self) -> int:
        """First pixel of unit 0, or of the first unit that sees any."""
        return next(span[0] for span in self.spans if span is not None)

    def empty(self) -> bool:
        """Whether no unit sees any pixel."""
        return all(span is None for span in self.spans)


PIXEL = Window(((0, 0),), 1)


def hull(spans: Iterable[Span]) -> Span:
    """The smallest span around all of them."""
    seen = [span for span in spans if span is not None]
    return (min(first for first, _ in seen), max(last for _, last in seen)) if seen else None


def union(one: Window | None, other: Window | None) -> Window | None:
    """The hull of two branches that meet; None where either is the whole input, or their strides differ."""
    if one is None or other is None or one == other:
        return one if one == other else None
    if one.empty() or other.empty():
        return other if one.empty() else one
    if one.advance * len(other.spans) != other.advance * len(one.spans):
        return None  # on a large input the two drift apart without end
    period = math.lcm(len(one.spans), len(other.spans))
    if period > LONGEST_PERIOD:
        return None
    spans = tuple(hull((one.of(unit), other.of(unit))) for unit in range(period))
    return Window(spans, one.advance * period // len(one.spans)).shortest()


def pixel_boxes(height: int, width: int) -> Boxes:
    """The boxes of the image itself: every pixel sees itself."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    return np.stack([y, x, -(y + 1), -(x + 1)])


def gather(boxes: Boxes, axis: int, reach: Reach, inputs: int, units: int) -> Boxes:
    """The boxes one operation further up along ``axis`` (0 for y, 1 for x): the hull of what each unit reads."""
    if reach is IDENTITY and inputs == units:
        return boxes
    lines = np.moveaxis(boxes, 1 + axis, 0)
    lines = np.broadcast_to(lines, (inputs, *lines.shape[1:]))
    nothing = np.full_like(lines[:1], NOTHING)
    lines = np.concatenate([lines, nothing])  # index -1, what lies outside, picks this one
    read = reach.indices(inputs, units)
    hulls = np.broadcast_to(nothing, (units, *lines.shape[1:]))
    for tap in range(read.shape[1]):
        hulls = np.minimum(hulls, lines[read[:, tap]])
    return np.moveaxis(hulls, 0, 1 + axis)


def everything(boxes: Boxes, axis: int) -> Boxes:
    """The one box, along ``axis``, of an operation whose units all read the whole axis."""
    return boxes.min(axis=1 + axis, keepdims=True)
