"""Draw what two methods make of other networks than the bundled one: pages tell of it under "What it cannot tell".

    python docs/make_other_pictures.py FOLDER

The weights are the user's own, in FOLDER: ``squeezenet1_0_imagenet.safetensors`` for torchvision's SqueezeNet 1.0, and
``cifar_resnet.py`` with ``cifar10_resnet20.safetensors``, a ResNet-20 for CIFAR-10. The photos are scikit-image's.
"""

import sys
from pathlib import Path
from typing import Any

import skimage.data
from make_pictures import OUT, encoded

import convscope as cs
from convscope.comparisons.placing import photo_tile
from convscope.render.sheet import matrix

LARGEST_FILE = 120_000  # bytes: grain cannot be packed


def networks(folder: Path) -> tuple[cs.Network, cs.Network]:
    """SqueezeNet and the ResNet."""
    squeezenet = cs.load("torchvision:squeezenet1_0", weights=folder / "squeezenet1_0_imagenet.safetensors")
    resnet = cs.load(f"{folder / 'cifar_resnet.py'}:resnet20", weights=folder / "cifar10_resnet20.safetensors", size=32)
    return squeezenet, resnet


def draw(file: str, rows: list[list[tuple[str, cs.Explanation]]]) -> None:
    """A row a network: the photo with the network's answer, and maps with a heading, each on its own scale."""
    tiles = [[photo_tile(row[0][1].prediction), *(one.tile(caption=heading) for heading, one in row)] for row in rows]
    (OUT / file).write_bytes(encoded(matrix(tiles, tile_width=200, pixel_ratio=2), LARGEST_FILE))


def main(folder: Path) -> None:
    """Both pictures."""
    squeezenet, resnet = networks(folder)
    coffee, cat = skimage.data.coffee(), skimage.data.chelsea()
    draw("smooth-grad.others.webp", [noises(squeezenet, coffee), noises(resnet, cat)])
    draw("deconvnet.others.webp", [starts(squeezenet, cat, "Egyptian cat"), starts(resnet, cat, "cat")])


def noises(net: cs.Network, photo: Any) -> list[tuple[str, cs.Explanation]]:
    """The gradient, and its mean over less and more noise."""
    asked = {"gradient": 0.0, "noise=0.05": 0.05, "noise=0.15": 0.15}
    return [(what, cs.explain(net, photo, "smooth-grad", noise=noise)) for what, noise in asked.items()]


def starts(net: cs.Network, photo: Any, target: str) -> list[tuple[str, cs.Explanation]]:
    """The deconvnet from the strongest unit of the last map, and from a class."""
    return [
        ("strongest unit", cs.explain(net, photo, "deconvnet")),
        ("class", cs.explain(net, photo, "deconvnet", target=target)),
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
