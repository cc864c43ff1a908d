"""Class folders of small pictures that a small network learns in an epoch or two: reddish, greenish, bluish."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("blue", "green", "red")


def colour_folders(
    folder: Path, *, each: int = 8, side: int = 32, classes: tuple[str, ...] = CLASSES, seed: int = 0
) -> Path:
    """``folder/red/00.png`` and so on: noise around one channel."""
    random = np.random.default_rng(seed)
    for label in classes:
        (folder / label).mkdir(parents=True)
        for number in range(each):
            pixels = random.integers(0, 120, (side, side, 3))
            pixels[:, :, ["red", "green", "blue"].index(label)] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number:02}.png")
    return folder
