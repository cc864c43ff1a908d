"""Loops over numbers as machine code (Numba): where one sweep does what numpy and torch need several for."""

import inspect
from typing import Any

import numba


def compiled(function: Any) -> Any:
    """The function as machine code, made at its first call and kept on disk; threads run it side by side.

    No fast-math: numbers are added in the order that is written, so that results are equal on every processor.
    """
    plain = inspect.unwrap(function)  # a checker of types may have wrapped it, which Numba cannot read
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(plain)
    except RuntimeError:  # no folder to keep it in: made anew in every process, which takes a second or two
        return numba.njit(**options)(plain)
