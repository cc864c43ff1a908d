"""Made pictures whose truth is known: coloured shapes on bits of photographs.

One to four shapes lie on a grey-toned crop of a photo, 64 x 64 pixels. No two of them share a colour or a kind, so
that "the circle" and "the red one" always mean exactly one of them, and where it lies is known to the pixel: whoever
explains an answer about it can see whether the explanation points there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from convscope.render.colour_bar import ColourBar
from convscope.render.overlay import OPACITY, overlay
from convscope.render.scale import scale_of
from convscope.render.tile import Tile

SIZE = 64
COLOURS = {"red": (216, 44, 44), "green": (40, 165, 74), "blue": (46, 92, 220), "yellow": (240, 200, 40)}
SHAPES = ("circle", "square", "triangle", "star")
FINER = 3  # drawn that many times larger, then reduced: smooth edges


@dataclass(frozen=True)
class Thing:
    """One shape: its colour and kind, its middle and its radius in pixels."""

    colour: str
    shape: str
    y: float
    x: float
    radius: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The square around the thing: left, top, right, bottom."""
        return self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius

    def covers(self, peak: tuple[float, float], margin: float = 4.0) -> bool:
        """Whether a point (y, x) lies in the square, or at most 4 pixels, a cell of a 16 x 16 map, beside it."""
        return max(abs(peak[0] - self.y), abs(peak[1] - self.x)) <= self.radius + margin


@dataclass(frozen=True)
class Scene:
    """A picture and what is on it."""

    picture: Image.Image
    things: tuple[Thing, ...]


def make_scenes(count: int, seed: int, things: Sequence[int]) -> list[Scene]:
    """Scenes with one of these numbers of things each; the same seed gives the same scenes."""
    random = np.random.default_rng(seed)
    return [_scene(random, int(random.choice(things))) for _ in range(count)]


def as_input(scenes: Sequence[Scene]) -> Tensor:
    """What a network sees: (b, 3, 64, 64) from -1 to 1."""
    pixels = np.stack([np.asarray(scene.picture) for scene in scenes])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def peak_of(heat: Tensor) -> tuple[float, float]:
    """Where on the picture (y, x) the strongest cell of a map (h, w) has its middle."""
    y, x = divmod(int(heat.argmax()), heat.shape[1])
    return (y + 0.5) * SIZE / heat.shape[0], (x + 0.5) * SIZE / heat.shape[1]


def enlarged(picture: Image.Image, things: Sequence[Thing] = ()) -> Image.Image:
    """The picture four times as large, a thin white square around each of the things."""
    large = picture.resize((4 * SIZE, 4 * SIZE), Image.Resampling.BICUBIC)
    for thing in things:
        ImageDraw.Draw(large).rectangle([4 * side for side in thing.box], outline="white", width=2)
    return large


def heat_tile(picture: Image.Image, heat: Tensor, **texts: str) -> Tile:
    """A map over its picture in grey, since the colours of the things would be taken for heat; and its colour bar."""
    values = heat.numpy()
    scale = scale_of(values)
    return Tile(overlay(picture, values, scale, greyed=1.0), bar=ColourBar(scale, opacity=OPACITY), **texts)


def eyes(channels: int) -> nn.Sequential:
    """The convolutions that the examples' networks begin with: 64 x 64 pixels to ``channels`` maps of 16 x 16."""
    return nn.Sequential(
        *convolution(3, channels // 2, size=4, stride=2),
        *convolution(channels // 2, channels, size=4, stride=2),
        *convolution(channels, channels),
    )


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _scene(random: np.random.Generator, count: int) -> Scene:
    colours, shapes = random.permutation(list(COLOURS))[:count], random.permutation(SHAPES)[:count]
    places = _places(random, count)
    things = [Thing(str(c), str(s), *place) for c, s, place in zip(colours, shapes, places, strict=True)]
    picture = _background(random)
    for thing in things:
        _draw(picture, thing, random)
    return Scene(picture.resize((SIZE, SIZE), Image.Resampling.BOX), tuple(things))


def _places(random: np.random.Generator, count: int) -> list[tuple[float, float, float]]:
    """Middles and radii (y, x, radius) such that nothing overlaps or leaves the picture."""
    while True:
        radii = random.uniform(6.5, 10.0, count)
        middles = random.uniform(radii + 1, SIZE - 1 - radii, (2, count)).T
        gaps = [
            math.dist(middles[i], middles[j]) - 1.25 * (radii[i] + radii[j]) for i in range(count) for j in range(i)
        ]
        if min(gaps, default=1.0) > 0:
            return [(float(y), float(x), float(radius)) for (y, x), radius in zip(middles, radii, strict=True)]


@cache
def _photos() -> list[Image.Image]:
    """Three photos that come with scikit-image, most of their colour taken out and their contrast halved."""
    photos = [Image.fromarray(getattr(skimage.data, name)()) for name in ("chelsea", "coffee", "rocket")]
    greyed = [Image.blend(photo, photo.convert("L").convert("RGB"), 0.7) for photo in photos]
    return [Image.blend(photo, Image.new("RGB", photo.size, (150, 146, 140)), 0.45) for photo in greyed]


def _background(random: np.random.Generator) -> Image.Image:
    photo = _photos()[random.integers(3)]
    side = int(random.integers(100, 280))
    left, top = (int(random.integers(0, length - side)) for length in photo.size)
    crop = photo.crop((left, top, left + side, top + side))
    return crop.resize((SIZE * FINER, SIZE * FINER), Image.Resampling.BILINEAR)


def _draw(picture: Image.Image, thing: Thing, random: np.random.Generator) -> None:
    fill = tuple(int(value) for value in np.clip(np.array(COLOURS[thing.colour]) + random.normal(0, 9, 3), 0, 255))
    edge = tuple(int(0.7 * value) for value in fill)
    pen, turn = ImageDraw.Draw(picture), random.uniform(-0.3, 0.3)
    if thing.shape == "circle":
        y, x, r = (FINER * value for value in (thing.y, thing.x, 0.9 * thing.radius))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=edge, width=FINER)
    else:
        pen.polygon(_corners(thing, turn), fill=fill, outline=edge, width=FINER)


def _corners(thing: Thing, turn: float) -> list[tuple[float, float]]:
    """The corners of a square, a triangle or a five-pointed star, turned by some radians."""
    count, short, start = {"square": (4, 1.0, math.pi / 4), "triangle": (3, 1.0, 0), "star": (10, 0.45, 0)}[thing.shape]
    corners: list[tuple[float, float]] = []
    for number in range(count):
        angle = 2 * math.pi * number / count + start + turn
        radius = thing.radius * (short if number % 2 and thing.shape == "star" else 1.0)
        corners.append((FINER * (thing.x + radius * math.sin(angle)), FINER * (thing.y - radius * math.cos(angle))))
    return corners
