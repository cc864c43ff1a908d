"""What tests of surveys share: small class folders, a small network, and all that an atlas says, to compare."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convscope.store.schema import TABLES

CLASSES = ("crane", "king penguin", "tabby")  # of tests.friendly's network, in three folders


SMALL = {"shard": 5, "batch": 2, "top": 3, "features": 6}  # options of a survey in several parts


def photo_folder(folder: Path, count: int = 24, *, corrupt: int | None = None) -> Path:
    """``count`` pictures of different sizes in class folders; number ``corrupt`` is no picture."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / CLASSES[number * len(CLASSES) // count] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        rough = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        rough.resize((14 + number % 3, 13), Image.Resampling.BICUBIC).save(path)
        if number == corrupt:
            path.write_bytes(b"no picture")
    return folder


def contents(atlas: Path) -> dict[str, Any]:
    """Every table but ``runs``, and the other files by their bytes."""
    with closing(sqlite3.connect(atlas / "atlas.sqlite")) as base:
        found: dict[str, Any] = {
            name: base.execute(f"SELECT * FROM {name} ORDER BY {', '.join(keys)}").fetchall()
            for name, (_, keys) in TABLES.items()
            if name != "runs"
        }
    files = [*atlas.glob("*.safetensors"), *(atlas / "images").glob("*/*")]
    return found | {path.relative_to(atlas).as_posix(): path.read_bytes() for path in sorted(files)}


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The tables and files that are not the same."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


class StoppedError(Exception):
    """The test's own way to end a survey."""


def stopping(after: int, error: type[BaseException] = StoppedError) -> Callable[[str, int, int], None]:
    """An ``on_step`` that raises at the n-th call."""
    calls = 0

    def step(what: str, done: int, every: int) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise error

    return step
