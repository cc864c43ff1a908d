"""Draw the pictures of the page on inversion, and print the errors that stand on it.

    python docs/make_inversion_pictures.py FOLDER [PICTURE ...]

The weights are the user's own, in FOLDER: ``squeezenet1_0_imagenet.safetensors`` for torchvision's SqueezeNet 1.0, and
``cifar_resnet.py`` with ``cifar10_resnet20.safetensors``, a ResNet-20 for CIFAR-10. The network for digits is trained
here, by ``examples/digits.py``. The photo is scikit-image's Chelsea, a cat. Half an hour on one core.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import skimage.data
from make_pictures import PICTURES, encoded
from PIL import Image

import convscope as cs
from convscope.optimised.inversion_sheets import networks, strip
from convscope.optimised.inversions import layers_on_the_path
from convscope.render.sheet import matrix
from convscope.render.tile import Tile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
import digits

OUT = PICTURES / "optimised"
LARGEST_FILE = 200_000  # bytes: grain cannot be packed
WIDTH, HEADING = 680, 110  # points
CAT = Image.fromarray(skimage.data.chelsea())
SHOWN = (
    *("features.0", "features.3", "features.5", "features.7", "features.9", "features.11", "features.12"),
    *("classifier.2", "classifier.3"),
)
STRENGTHS = (0.05, 0.5, 5)
DIGIT = 4  # the first of these that is held out
DIGIT_LAYERS = ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "dense1", "relu4", "dense2")


def squeezenet(folder: Path) -> cs.Network:
    """Torchvision's SqueezeNet 1.0."""
    return cs.load("torchvision:squeezenet1_0", weights=folder / "squeezenet1_0_imagenet.safetensors")


def inverted(net: cs.Network, photo: Any, layers: Sequence[str], **options: Any) -> list[cs.Inversion]:
    """Inversions, their errors printed."""
    made = [cs.invert(net, photo, layer, **options) for layer in layers]
    for one in made:
        print(f"  {net.name} {one.layer} {options or ''} {one.error_line}; {one.numbers_line}")
    return made


def rows_of(made: Sequence[cs.Inversion], columns: int) -> list[list[Tile]]:
    """The photo and its inversions, some in a row."""
    tiles = [made[0].photo_tile(), *(one.tile() for one in made)]
    return [tiles[start : start + columns] for start in range(0, len(tiles), columns)]


def drawn(rows: Sequence[Sequence[Tile | None]], headings: Sequence[str] = ()) -> Image.Image:
    """Rows as wide as a page."""
    width = WIDTH - HEADING if headings else WIDTH
    return matrix(rows, row_headings=headings, tile_width=width // len(rows[0]) - 12, pixel_ratio=2)


def layers(folder: Path) -> dict[str, Image.Image]:
    """SqueezeNet's layers and the curve of all of them."""
    net = squeezenet(folder)
    made = inverted(net, CAT, layers_on_the_path(net, CAT)[0])
    chosen = [one for one in made if one.layer in SHOWN]
    return {"invert-layers": drawn(rows_of(chosen, 5)), "invert-curve": strip(made).curve(WIDTH)}


def strengths(folder: Path) -> dict[str, Image.Image]:
    """Weights of the total variation x layers."""
    net, names = squeezenet(folder), ("features.3", "features.8", "features.12")
    rows = [[one.tile() for one in inverted(net, CAT, names, tv=tv)] for tv in STRENGTHS]
    return {"invert-strengths": drawn(rows, [f"TV {tv:g}" for tv in STRENGTHS])}


def images(folder: Path) -> dict[str, Image.Image]:
    """What is optimised: pixels, or Fourier coefficients."""
    net, names = squeezenet(folder), ("features.8", "features.12", "classifier.2", "classifier.3")
    kinds = ("pixels", "fourier")
    rows = [[one.tile() for one in inverted(net, CAT, names, image=kind)] for kind in kinds]
    return {"invert-images": drawn(rows, kinds)}


def two_networks(folder: Path) -> dict[str, Image.Image]:
    """The bundled model and the ResNet-20, and both curves."""
    resnet = cs.load(f"{folder / 'cifar_resnet.py'}:resnet20", weights=folder / "cifar10_resnet20.safetensors", size=32)
    nets = {"bundled:tiny50": cs.load(), "ResNet-20": resnet}
    made = {name: inverted(net, CAT, layers_on_the_path(net, CAT)[0]) for name, net in nets.items()}
    rows = [[row[0].photo_tile(), *(one.tile() for one in spread(row, 4))] for row in made.values()]
    return {"invert-networks": drawn(rows, list(made)), "invert-networks-curve": networks(made).curve(WIDTH)}


def spread(row: Sequence[cs.Inversion], count: int) -> list[cs.Inversion]:
    """The first, the last, and some evenly between."""
    return [row[round(i * (len(row) - 1) / (count - 1))] for i in range(count)]


def dense(folder: Path) -> dict[str, Image.Image]:
    """A digit through the example's network to its dense layers; printed: two with next to no regularisation."""
    del folder
    learnt, (seen, labels) = digits.read_digits()
    net = digits.loaded(digits.train(*learnt))
    first = int((labels == DIGIT).nonzero()[0])
    photo = Image.fromarray((seen[first, 0] * 255).round().byte().numpy())
    inverted(net, photo, ["pool3", "dense2"], tv=0.01)
    return {"invert-dense": drawn(rows_of(inverted(net, photo, DIGIT_LAYERS), 5))}


DRAWN: dict[str, Callable[[Path], dict[str, Image.Image]]] = {
    "layers": layers,
    "strengths": strengths,
    "images": images,
    "networks": two_networks,
    "dense": dense,
}


def main(folder: Path, names: list[str]) -> None:
    """All pictures, or those that are named."""
    if unknown := set(names) - set(DRAWN):
        sys.exit(f"no {', '.join(sorted(unknown))}; there are {', '.join(DRAWN)}")
    for name in names or DRAWN:
        for stem, picture in DRAWN[name](folder).items():
            file = OUT / f"{stem}.webp"
            file.write_bytes(encoded(picture, LARGEST_FILE))
            print(stem, picture.size, file.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
