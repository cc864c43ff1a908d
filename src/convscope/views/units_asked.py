"""Which units of a layer a view is asked for, checked and in words."""

import operator
import re
from collections.abc import Sequence
from typing import SupportsIndex

from convscope.errors import ConvscopeError

_RANGE = re.compile(r"\s*(\d{1,7})\s*(?:-\s*(\d{1,7})\s*)?", re.ASCII)  # of more digits than any layer's units have
MOST_LISTED = 24  # numbers in a title; more say how many they are


def checked_units(
    units: Sequence[SupportsIndex] | None, count: int, layer: str, *, what: str = "unit"
) -> tuple[int, ...]:
    """The units' numbers in the order given, each once; None is all ``count`` of them.

    Raises:
        ConvscopeError: none, one that is no whole number, or one that the layer has not.
    """
    if units is None:
        return tuple(range(count))
    numbers = tuple(dict.fromkeys(_number(unit, what) for unit in units))
    if not numbers:
        raise ConvscopeError(f"no {what} of layer {layer!r} was asked for; give at least one of its {count}, or None")
    for number in numbers:
        if not 0 <= number < count:
            raise ConvscopeError(
                f"{what} {number} was asked for, but layer {layer!r} has {count} {what}s (0 to {count - 1})"
            )
    return numbers


def numbers_in(text: str, what: str = "units") -> list[int]:
    """``"2,7,10-12"`` -> [2, 7, 10, 11, 12].

    Raises:
        ConvscopeError: anything else, and a range that runs backwards.
    """
    return [number for part in ranges_in(text, what) for number in part]


def ranges_in(text: str, what: str = "units") -> list[range]:
    """``"2,10-12"`` -> [range(2, 3), range(10, 13)].

    Raises:
        ConvscopeError: as ``numbers_in``.
    """
    found: list[range] = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ConvscopeError(f"{what} {text!r}: give numbers from 0 up and ranges, such as 2,7,10-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise ConvscopeError(f"{what} {text!r}: {part.strip()} runs backwards; give {last}-{first}")
        found.append(range(first, last + 1))
    return found


def _number(unit: SupportsIndex, what: str) -> int:
    try:
        if isinstance(unit, bool):
            raise TypeError
        return operator.index(unit)
    except TypeError:
        raise ConvscopeError(f"{what} {unit!r} is no number") from None


def in_words(units: Sequence[int], *, what: str = "unit") -> str:
    """``"unit 3"``, ``"units 0 to 63"``, ``"units 2, 7, 17"``; of many ``"40 units from 0 to 99"``."""
    if len(units) == 1:
        return f"{what} {units[0]}"
    if list(units) == list(range(units[0], units[0] + len(units))):
        return f"{what}s {units[0]} to {units[-1]}"
    if len(units) <= MOST_LISTED:
        return f"{what}s {', '.join(map(str, units))}"
    return f"{len(units)} {what}s from {min(units)} to {max(units)}"
