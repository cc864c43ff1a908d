"""Interleaved timing: candidates take turns, so that a slow minute of the machine falls on all of them alike.

A round runs every candidate once, in a new random order. The ratio of a candidate to the reference is the median
over rounds of (its time / the reference's time in the same round): drift that lasts longer than a round cancels.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Timing:
    """``seconds``: the median over rounds. ``ratio``: to the reference, with its quartiles ``low`` and ``high``."""

    seconds: float
    ratio: float
    low: float
    high: float


def interleaved(
    candidates: Mapping[str, Callable[[], object]], *, reference: str, rounds: int = 15, warm_up: int = 2, seed: int = 0
) -> dict[str, Timing]:
    """Time every candidate against ``candidates[reference]``; each is called ``warm_up + rounds`` times."""
    order, generator = list(candidates), random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in order}
    for number in range(warm_up + rounds):
        generator.shuffle(order)
        for name in order:
            seconds = _seconds(candidates[name])
            if number >= warm_up:
                times[name].append(seconds)
    return {name: _timing(times[name], times[reference]) for name in candidates}


def _seconds(call: Callable[[], object]) -> float:
    _wait()
    start = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _timing(times: list[float], reference: list[float]) -> Timing:
    ratios = sorted(one / other for one, other in zip(times, reference, strict=True))
    return Timing(median(times), median(ratios), ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4])


def as_row(name: str, timing: Timing) -> str:
    return (
        f"  {name:<28} {timing.seconds * 1e3:9.1f} ms   {timing.ratio:6.2f} x   ({timing.low:.2f} to {timing.high:.2f})"
    )
