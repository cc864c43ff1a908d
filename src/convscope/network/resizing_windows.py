"""Windows of operations that resize a map by a ratio: adaptive pooling and upsampling.

Claim: with n inputs and n' units, unit i reads

    adaptive pooling    floor(i n / n') ... ceil((i + 1) n / n') - 1
    upsampling          the neighbours that have a weight around the position (i + 1/2) n / n' - 1/2,
                        or i (n - 1) / (n' - 1) where corners are aligned.

Both repeat after n' / gcd(n, n') units. Positions are fractions, so that a neighbour of weight zero is known to be
one: bilinear upsampling by 3 reads a single row at every third.

Pitfalls: adaptive pooling to one unit is global even on a map of one unit, and an adaptive pooling that a network
uses to reach a fixed size has this window at this image size only. With aligned corners the position drifts by up to
half a unit along the map; in the middle of a large map it is the one without, which is the rule that is reported,
and the table holds what each unit of this very map reads.
"""

import math
import re
from fractions import Fraction

import numpy as np

from convscope.network import saved_fields
from convscope.network.image_axes import LOST, Edge, Place, Step, resized
from convscope.network.measured_windows import measure, pointwise
from convscope.network.window_algebra import Reach

HALF = Fraction(1, 2)


def adaptive_pooling(edge: Edge, place: Place) -> Step:
    """Windows that divide the map; one unit reads everything."""
    if place.dim < -_spatial_axes(edge):
        return pointwise(edge, place)
    inputs, units = edge.inputs[place.dim], edge.shape[place.dim]
    if units == 1:
        return LOST
    period = units // math.gcd(inputs, units)
    taps = tuple(tuple(range(unit * inputs // units, -(-(unit + 1) * inputs // units))) for unit in range(period))
    return resized(edge, place, Reach(taps, inputs * period // units))


def upsampling_nearest(edge: Edge, place: Place) -> Step:
    """Every row repeated. Where the factor is no whole number, rounding decides which: measured."""
    if place.dim < -_spatial_axes(edge):
        return pointwise(edge, place)
    inputs, units = edge.inputs[place.dim], edge.shape[place.dim]
    scale = saved_fields.resize(edge.node).scales[place.dim]
    if units % inputs or scale not in (None, units / inputs):
        return measure(edge, place)
    return resized(edge, place, Reach(((0,),) * (units // inputs)))


def upsampling_linear(edge: Edge, place: Place) -> Step:
    """Bilinear and bicubic resizing."""
    if place.dim < -_spatial_axes(edge):
        return pointwise(edge, place)
    asked = saved_fields.resize(edge.node)
    inputs, units = edge.inputs[place.dim], edge.shape[place.dim]
    scale = asked.scales[place.dim]
    # a factor that was given counts as it is, though the map's size was rounded
    ratio = Fraction(inputs, units) if scale is None else 1 / Fraction(scale).limit_denominator(1000)
    cubic = "Bicubic" in edge.node.name()
    taps = tuple(_neighbours((unit + HALF) * ratio - HALF, cubic) for unit in range(ratio.denominator))
    table = _between_corners(inputs, units, cubic) if asked.align_corners else None
    return resized(edge, place, Reach(taps, ratio.numerator, table))


def _between_corners(inputs: int, units: int, cubic: bool) -> np.ndarray:
    spacing = Fraction(inputs - 1, max(units - 1, 1))
    table = np.full((units, 4), -1, dtype=np.int64)
    for unit in range(units):
        row = _neighbours(unit * spacing, cubic)
        table[unit, : len(row)] = row
    return np.where(table < inputs, table, -1)


def _neighbours(position: Fraction, cubic: bool) -> tuple[int, ...]:
    below = math.floor(position)
    if below == position:
        return (below,)
    return tuple(range(below - 1, below + 3) if cubic else range(below, below + 2))


def _spatial_axes(edge: Edge) -> int:
    found = re.search(r"(\d)D", edge.node.name())
    return int(found[1]) if found else 1
