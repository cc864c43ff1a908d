"""Draw the pictures of the page on DeepDream.

    python docs/make_dream_pictures.py FOLDER [PICTURE ...]

The weights are the user's own, in FOLDER: ``squeezenet1_0_imagenet.safetensors`` for torchvision's SqueezeNet 1.0. The
photos are scikit-image's Chelsea, a cat, and coffee.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import skimage.data
from make_pictures import PICTURES, encoded
from PIL import Image

import convscope as cs
from convscope.render.sheet import matrix
from convscope.render.tile import Tile

OUT = PICTURES / "optimised"
WIDTH = 680  # points
LARGEST_FILE = 250_000  # bytes: the dreams' grain cannot be packed
CAT, COFFEE = Image.fromarray(skimage.data.chelsea()), Image.fromarray(skimage.data.coffee())
LAYERS = ("features.0", "features.3", "features.5", "features.10", "features.12")
LAYER = "features.10"  # the one that the command takes where none is named


def dreamt(found: cs.Dream, caption: str = "", note: str = "") -> Tile:
    """A dream under its name."""
    return Tile(found.image(), caption or found.objective, note)


def layers(net: cs.Network) -> list[list[Tile]]:
    """The cat by layers, from the first to the last."""
    tiles = [Tile(CAT, "photo"), *(dreamt(cs.dream(net, CAT, layer)) for layer in LAYERS)]
    return [tiles[:3], tiles[3:]]


def octaves(net: cs.Network) -> list[list[Tile]]:
    """No step, one octave of few and of many steps; four octaves, without shifts, and with longer steps."""

    def tile(caption: str, note: str = "", **options: Any) -> Tile:
        return dreamt(cs.dream(net, CAT, LAYER, **options), caption, note)

    return [
        [
            tile("steps=0", "the photo, to the bit", steps=0),
            tile("octaves=1", "10 steps at full size", octaves=1),
            tile("octaves=1, steps=40", "40 steps at full size", octaves=1, steps=40),
        ],
        [
            tile("octaves=4", "4 x 10 steps: the default"),
            tile("octaves=4, jitter=0", "no shifts", jitter=0),
            tile("octaves=4, rate=5", "steps of 5 grey levels, not of 1.5", rate=5),
        ],
    ]


def guided(net: cs.Network) -> list[list[Tile]]:
    """The cat led by the coffee, and the other way round."""

    def row(photo: Image.Image, guide: Image.Image) -> list[Tile]:
        own, led = cs.dream(net, photo, LAYER), cs.dream(net, photo, LAYER, guide=guide)
        return [Tile(photo, "photo"), dreamt(own, "dream"), Tile(guide, "guide"), dreamt(led, "guided dream")]

    return [row(CAT, COFFEE), row(COFFEE, CAT)]


def noise(net: cs.Network) -> list[list[Tile]]:
    """Dreams that begin with noise."""
    return [[dreamt(cs.dream(net, None, layer, side=300)) for layer in ("features.3", "features.5", "features.10")]]


def classes(net: cs.Network) -> list[list[Tile]]:
    """Dreams of three classes."""
    return [[dreamt(cs.dream(net, CAT, unit=name, side=300)) for name in ("goldfish", "ladybug", "daisy")]]


def bundled(_: cs.Network) -> list[list[Tile]]:
    """The cat by layers of the bundled model."""
    net = cs.load()
    return [[dreamt(cs.dream(net, CAT, layer)) for layer in ("features.3", "features.8", "features.13", "features.16")]]


DRAWN: dict[str, Callable[[cs.Network], list[list[Tile]]]] = {
    "dream-layers": layers,
    "dream-bundled": bundled,
    "dream-octaves": octaves,
    "dream-guided": guided,
    "dream-noise": noise,
    "dream-classes": classes,
}


def main(folder: Path, names: list[str]) -> None:
    """All pictures, or those that are named."""
    if unknown := set(names) - set(DRAWN):
        sys.exit(f"no {', '.join(sorted(unknown))}; there are {', '.join(DRAWN)}")
    net = cs.load("torchvision:squeezenet1_0", weights=folder / "squeezenet1_0_imagenet.safetensors")
    for name in names or DRAWN:
        rows = DRAWN[name](net)
        sheet = matrix(rows, tile_width=WIDTH // len(rows[0]), pixel_ratio=2)
        file = OUT / f"{name}.webp"
        file.write_bytes(encoded(sheet, LARGEST_FILE))
        print(name, sheet.size, file.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
