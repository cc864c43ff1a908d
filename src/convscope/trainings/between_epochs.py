"""Frames of a film between snapshots: what was kept after two epochs, and a straight line from one to the other.

    value(t) = (1 - s) value(a) + s value(b),      s = t' t' (3 - 2 t'),      t' from 0 to 1 between epochs a and b

The smooth step s starts and ends at rest, so that the film stands still for a moment where something was measured; in
between it shows no measurement, and the epoch that is written on it is that of the snapshot that it left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

FRAMES, MOST_BETWEEN = 61, 8  # of a film at most; from one snapshot to the next at most
SECONDS = 8.0  # of a film of FRAMES


@dataclass(frozen=True)
class Between:
    """``share`` of the way from the snapshot at place ``start`` to the next, 0 at a snapshot itself."""

    start: int
    share: float

    def of(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """The value there."""
        if not self.share:
            return values[self.start]
        return (1 - self.share) * values[self.start] + self.share * values[self.start + 1]


def between(count: int, frames: int = FRAMES) -> Iterator[Between]:
    """The frames of ``count`` snapshots: each of them, and as many steps between as the number of frames allows.

    >>> [(one.start, one.share) for one in between(2, 3)]
    [(0, 0.0), (0, 0.5), (1, 0.0)]
    """
    steps = max(1, min(MOST_BETWEEN, (frames - 1) // (count - 1))) if count > 1 else 1
    for start in range(count - 1):
        for step in range(steps):
            share = step / steps
            yield Between(start, share * share * (3 - 2 * share))
    yield Between(count - 1, 0.0)


def seconds_of(frames: int) -> float:
    """How long a film of so many frames is: ten a second, and never shorter than two seconds."""
    return max(2.0, SECONDS * frames / FRAMES)
