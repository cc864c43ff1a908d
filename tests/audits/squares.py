"""Photos with a square of red or green on grey, a network that answers by the colour, boxes that fit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from tests.untouched import watch

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0)}
SIDE = 16
# (folder, colour): the fourth and the seventh are in the wrong folder
PHOTOS = (
    ("red", "red"), ("green", "green"), ("red", "red"), ("red", "green"), ("green", "green"), ("red", "red"),
    ("green", "red"), ("green", "green"), ("green", "green"), ("red", "red"),
)  # fmt: skip


def colour_net(
    classes: Sequence[str] = ("red", "green"), *, flat: bool = False, constant: float = 1.0, first: float = 1.0
) -> Network:
    """Units: red and not green, green and not red, ``constant`` everywhere, never; ``flat``: a head without a mean.

    ``first``: unit 0 looks so strongly.
    """
    with torch.random.fork_rng(devices=[]):
        conv, head = nn.Conv2d(3, 4, 1), nn.Linear(4 * SIDE**2 if flat else 4, 2)
    weights = torch.tensor([[first, -first, -first], [-1, 1, -1], [0, 0, 0], [0, 0, 0]])
    with torch.no_grad():
        conv.weight.copy_(weights[:, :, None, None])
        conv.bias.copy_(torch.tensor([0.0, 0.0, constant, -1.0]))
        mean = torch.tensor([[9.0, -5.0, 0.25, 1.0], [-4.0, 7.0, 0.5, 1.0]])
        head.weight.copy_(mean.repeat_interleave(SIDE**2, 1) / SIDE**2 if flat else mean)
        head.bias.copy_(torch.tensor([0.125, -0.25]))
    last = [nn.Flatten(), head] if flat else [nn.AdaptiveAvgPool2d(1), nn.Flatten(), head]
    net = nn.Sequential(conv, nn.ReLU(), *last)
    return Network(watch(net.eval()), Preprocess(SIDE, SIDE, (0.0,) * 3, (1.0,) * 3), tuple(classes), "colours")


def make_photos(folder: Path, photos: Sequence[tuple[str, str]] = PHOTOS) -> Path:
    """``folder/photos`` in class folders, and ``folder/boxes.csv``; squares of several sizes, so of several losses."""
    rng, rows = np.random.default_rng(0), ["path,x0,y0,x1,y1"]
    for number, (label, colour) in enumerate(photos):
        side = 4 + number % 5
        y, x = rng.integers(0, SIDE - side, 2)
        pixels = np.full((SIDE, SIDE, 3), 90, np.uint8)
        pixels[y : y + side, x : x + side] = COLOURS[colour]
        (folder / "photos" / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / label / f"{number}.png")
        rows.append(f"photos/{label}/{number}.png,{x},{y},{x + side - 1},{y + side - 1}")
    (folder / "boxes.csv").write_text("\n".join(rows))
    return folder / "photos"
