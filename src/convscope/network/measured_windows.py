"""The window of an operation that nobody described: measured on the operation itself.

Claim. A node of the recorded graph is a function from the gradient of its output to the gradient of its input, and
can be called alone. A gradient that is zero but in row i of the output comes back non-zero in exactly those rows of
the input that row i reads: the support of the transposed Jacobian. So

    S(i) = { j : node(e_i)[j] != 0 for some channel and column },

with e_i positive numbers in row i. All S(i) together are the operation's window at every position, borders included;
a rule ``advance * (i // period) + taps`` is accepted only where every unit of the map's middle half obeys it, and
every unit nearer the border that reads anything and would not read past it (any kind of padding). Otherwise there is
none: nothing is guessed, and the reported window is the whole input.

Most unknown operations read their own position only. That is proven without n probes: if for every binary digit of
the row's number the rows with a 1 come back in rows with a 1, and those with a 0 in rows with a 0, then S(i) is
within {i} (2 log2 n probes).

The probe leaves no trace: no ``.grad`` is written (the node is called, not the engine), no hook fires, no saved
tensor is freed. It is not made where a call would run more than a formula: a checkpoint runs its part of the
network again and writes gradients, compiled code reuses its buffers; those are refused by name.

Pitfalls: the support is that of this input (a row whose units are all dead looks unread; inside a pointwise
operation that is not believed). Rows and columns are measured apart: a warp that turns the image gets the hull.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

from convscope.errors import ConvscopeError
from convscope.network import saved_fields
from convscope.network.image_axes import LOST, Edge, Place, Step, kept
from convscope.network.window_algebra import IDENTITY, Reach

Taps = tuple[tuple[int, ...], ...]
# calling one of these runs a network or reuses its buffers: names as saved_fields.operation gives them
CLOSED = ("Checkpoint", "CompiledFunction", "DifferentiableGraph")
LONGEST_PERIOD = 8  # units; a pixel shuffle by 8 is the largest in use


def measure(edge: Edge, place: Place) -> Step:
    """One axis through an unknown operation. Raises ConvscopeError, naming the operation, where it cannot be called."""
    if any(name in edge.node.name() for name in CLOSED):
        raise ConvscopeError(
            f"cannot see into {edge.node.name()}, so no receptive field is known above it; "
            "possible: the same network without compilation, scripting or reentrant checkpoints"
        )
    if len(edge.inputs) != len(edge.shape):
        return LOST
    if edge.inputs[place.dim] != edge.shape[place.dim] and not place.fills(edge.inputs):
        return LOST
    after = place if edge.inputs[place.dim] == edge.shape[place.dim] else Place(place.dim, 1, edge.shape[place.dim])
    probe = _Probe(edge, place, after, _uneven(edge))
    if after == place and _reads_itself_only(probe):
        return _own_position(probe)
    read = np.array([probe.support([unit]) for unit in range(after.size)])
    return Step(after, Reach(*_fitted(read), table=_listed(read)))


def pointwise(edge: Edge, place: Place) -> Step:
    """Activations, sums, products, whatever acts on other dimensions. Inputs of one unit broadcast."""
    if len(edge.shape) < -place.dim:
        return LOST
    if edge.inputs[place.dim] == edge.shape[place.dim]:
        return kept(place)
    return LOST if edge.inputs[place.dim] == 1 else measure(edge, place)


@dataclass(frozen=True, eq=False)
class _Probe:
    """An axis before and after one operation, and the numbers that are sent back through it."""

    edge: Edge
    before: Place
    after: Place
    signal: Tensor

    def support(self, units: Iterable[int]) -> Bool[np.ndarray, " _inputs"]:
        """Which rows of the input get a gradient when ``units`` of the output have one."""
        chosen = torch.zeros(self.after.size, dtype=self.signal.dtype)
        chosen[torch.tensor(list(units), dtype=torch.long)] = 1
        repeats = self.signal.shape[self.after.dim] // (self.after.size * self.after.inner)
        rows = chosen.repeat_interleave(self.after.inner).repeat(repeats).to(self.signal.device)
        back = _called(self.edge, self.signal * rows.view(-1, *[1] * (-self.after.dim - 1)))
        if back is None:
            return np.zeros(self.before.size, dtype=bool)
        others = [dim for dim in range(back.ndim) if dim != back.ndim + self.before.dim]
        touched = (back.abs().amax(others) if others else back) != 0  # NaN is support too
        return touched.view(-1, self.before.size, self.before.inner).any(2).any(0).cpu().numpy()


def _uneven(edge: Edge) -> Tensor:
    """Positive numbers like the output, without a pattern: no sum of them cancels. The random state stays as it is."""
    like = saved_fields.blank(edge.node, edge.output)
    number = torch.arange(like.numel(), device=like.device) % 1009  # a prime: no size of a map divides the period
    return (number * 0.618034 % 1 + 0.5).view(like.shape).to(like.dtype)


def _own_position(probe: _Probe) -> Step:
    place = probe.after
    if place.size == 1:
        return Step(place, Reach(None, table=np.zeros((1, 1), dtype=np.int64)))  # one unit proves no rule
    if saved_fields.operation(probe.edge.node) != "CopySlices":
        return kept(place)  # a row without support is one of dead units
    # where a slice was written, it was overwritten; where that is the middle, the border is no rule
    read = probe.support(range(place.size))
    rule = IDENTITY.taps if read[list(_middle(place.size))].any() else ((),)
    return Step(place, Reach(rule, table=np.where(read, np.arange(place.size), -1)[:, None]))


def _reads_itself_only(probe: _Probe) -> bool:
    units = np.arange(probe.after.size)
    for digit in range((probe.after.size - 1).bit_length()):
        ones = (units >> digit & 1).astype(bool)
        for rows in (ones, ~ones):
            if (probe.support(np.flatnonzero(rows).tolist()) & ~rows).any():
                return False
    return True


def _called(edge: Edge, gradient: Tensor) -> Tensor | None:
    """The gradient of the edge's input, given that of its output: the node called by itself."""
    node, outputs = edge.node, len(saved_fields.shapes(edge.node))
    custom = isinstance(node, BackwardCFunction)
    absent = [saved_fields.blank(node, other) if custom else None for other in range(outputs)]
    arguments = [gradient if other == edge.output else absent[other] for other in range(outputs)]
    try:
        with torch.no_grad():
            back = node.apply(*arguments) if custom else node(*arguments)  # pyright: ignore
    except Exception as error:
        raise ConvscopeError(f"cannot measure the window of {node.name()}: {error}") from error
    inputs = tuple(back) if isinstance(back, (tuple, list)) else (back,)
    return inputs[_argument(node, edge.index) if custom else edge.index]


def _argument(node: Node, index: int) -> int:
    """The position among *all* arguments of a custom Function, numbers included, of its ``index``-th edge."""
    needed = [k for k, needs in enumerate(getattr(node, "needs_input_grad")) if needs]  # noqa: B009 (not in Node's type)
    edges = [k for k, (source, _) in enumerate(node.next_functions) if source is not None]
    return needed[edges.index(index)]


def _middle(units: int) -> range:
    return range(units // 4, units - units // 4)


def _fitted(read: Bool[np.ndarray, "units inputs"]) -> tuple[Taps | None, int]:
    """Taps and advance of the shortest rule that the units obey; no taps where there is none."""
    rows = [frozenset(np.flatnonzero(row).tolist()) for row in read]
    middle = _middle(len(rows))
    if not any(rows[unit] for unit in middle):
        return ((),), 1
    for period in range(1, min(LONGEST_PERIOD, len(middle) // 2) + 1):
        first, next_period = rows[middle[0]], rows[middle[0] + period]
        advance = min(next_period) - min(first) if first and next_period else 0
        if advance > 0:
            taps = tuple(_taps(rows, middle, phase, period, advance) for phase in range(period))
            if _obeyed(rows, middle, taps, advance, read.shape[1]):
                return taps, advance
    return None, 1


def _taps(rows: list[frozenset[int]], middle: range, phase: int, period: int, advance: int) -> tuple[int, ...]:
    unit = next(unit for unit in middle if unit % period == phase)
    return tuple(sorted(row - advance * (unit // period) for row in rows[unit]))


def _obeyed(rows: list[frozenset[int]], middle: range, taps: Taps, advance: int, inputs: int) -> bool:
    """In the middle half by every unit; nearer the border by those that were not overwritten or padded there."""
    everything = frozenset(range(inputs))
    for unit, row in enumerate(rows):
        expected = frozenset(tap + advance * (unit // len(taps)) for tap in taps[unit % len(taps)])
        padded = unit not in middle and (not row or not expected <= everything)
        if not padded and row != expected:
            return False
    return True


def _listed(read: Bool[np.ndarray, "units inputs"]) -> np.ndarray:
    """The same as indices ``(units, taps)``, -1 where there is none."""
    table = np.full((len(read), max(1, read.sum(1).max())), -1, dtype=np.int64)
    for unit, row in enumerate(read):
        table[unit, : row.sum()] = np.flatnonzero(row)
    return table
