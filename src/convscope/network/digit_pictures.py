"""The digits in the box: scikit-learn's 1,797 written digits as pictures of 28 x 28 pixels, with a fixed held-out part.

They are the test part of the UCI "Optical recognition of handwritten digits" (Alpaydin & Kaynak 1998), 8 x 8 pixels of
0 (paper) to 16 (ink), which come with scikit-learn: nothing is downloaded. A value v becomes v 255 / 16, white on
black, enlarged to 28 x 28 by Pillow's bicubic resampling in floating point, then clipped and rounded. Bicubic and not
bilinear: the strokes come out even, not as rows of beads.

An id is ``7/0041.png``: the class, and the place in ``sklearn.datasets.load_digits()``. Of each class every fourth, in
that order, is held out: 445 of 1,797, the same ones for everybody. Digits of one writer are in both parts, so a score
on the held-out part tells how well digits of these thirteen writers are read, not those of a stranger.

    bundled:digits            all of them, as data; bundled:digits/train and bundled:digits/held-out: the parts
    bundled:digits:7          a picture: the first 7 that is held out
    bundled:digits/7/0041.png a picture by its id
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convscope.errors import ConvscopeError, nearest

DIGITS = "bundled:digits"
PARTS = ("train", "held-out")
SIZE = 28
INK = 16  # the blackest of scikit-learn's values
EVERY = 4  # one in so many of a class is held out


def is_in_the_box(given: object) -> bool:
    """Whether a text or path names something that comes with the package: ``bundled:...``."""
    return isinstance(given, str | Path) and str(given).startswith("bundled:")


def part_named(spec: str) -> str | None:
    """``train``, ``held-out``, or None for all digits, of ``bundled:digits[/PART]``.

    Raises:
        ConvscopeError: no such data in the box.
    """
    if spec == DIGITS:
        return None
    if (part := spec.removeprefix(f"{DIGITS}/")) in PARTS:
        return part
    raise _no_such(spec)


def digit_ids(part: str | None = None) -> tuple[str, ...]:
    """The ids of a part, or all of them, by code points: class after class."""
    return _ids(part)


@lru_cache
def _ids(part: str | None) -> tuple[str, ...]:
    found: list[str] = []
    _, targets = _scans()
    for digit in range(10):
        for place, number in enumerate(np.flatnonzero(targets == digit)):
            is_held_out = place % EVERY == EVERY - 1
            if part is None or is_held_out == (part == "held-out"):
                found.append(f"{digit}/{number:04d}.png")
    return tuple(found)


def digit_image(name: str) -> Image.Image:
    """The digit of an id: grey (mode L), 28 x 28, white on black.

    Raises:
        ConvscopeError: no digit of this id.
    """
    if name not in (known := _ids(None)):
        raise ConvscopeError(f"no digit {name!r} in {DIGITS}{nearest(name, known)}; ids are like {known[0]}")
    scans, _ = _scans()
    scan = Image.fromarray(scans[int(Path(name).stem)])
    values = np.asarray(scan.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))  # the cubic overshoots at strong edges


def digit_picture(spec: str) -> tuple[str, Image.Image]:
    """(id, picture) of ``bundled:digits:7``, the first held-out digit of a class, or ``bundled:digits/7/0041.png``.

    Raises:
        ConvscopeError: neither, or no such digit.
    """
    if spec.startswith(f"{DIGITS}:"):
        digit = spec.removeprefix(f"{DIGITS}:")
        name = next((each for each in _ids("held-out") if each.startswith(f"{digit}/")), None)
        if name is None:
            raise ConvscopeError(f"no digit {digit!r} in {DIGITS}; there are {DIGITS}:0 to {DIGITS}:9")
    elif spec.startswith(f"{DIGITS}/"):
        name = spec.removeprefix(f"{DIGITS}/")
    else:
        raise _no_such(spec)
    return name, digit_image(name)


def is_digit_picture(spec: str) -> bool:
    """Whether this names one picture, not many."""
    return spec.startswith(f"{DIGITS}:") or (spec.startswith(f"{DIGITS}/") and spec.endswith(".png"))


def _no_such(spec: str) -> ConvscopeError:
    if spec == "bundled:tiny50":
        return ConvscopeError(f"bundled:tiny50 is a model, no data; the data in the box is {DIGITS}")
    known = (DIGITS, *(f"{DIGITS}/{part}" for part in PARTS))
    return ConvscopeError(
        f"no {spec!r} in the box{nearest(spec, known)}; there are {', '.join(known)} and, one picture, {DIGITS}:7"
    )


@lru_cache
def _scans() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's pixels, (n, 8, 8) float32 of 0..255, and classes, (n,)."""
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    return (found.images * (255 / INK)).astype(np.float32), found.target
