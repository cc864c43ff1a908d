"""Draw the pictures of the pages on activation maximisation, and say how steady the class pictures are.

    python docs/make_maximised_pictures.py FOLDER [PICTURE ...]

The weights are the user's own, in FOLDER: ``squeezenet1_0_imagenet.safetensors`` for torchvision's SqueezeNet 1.0.

``visualize-classes`` prints a table of 20 classes, and ends with an error where fewer than 19 keep a probability above
0.99 as they are, shifted by 8 px, and turned by 5 degrees.
"""

import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from make_pictures import PICTURES, encoded
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import convscope as cs
from convscope.network.pixel_inputs import pixel_input
from convscope.optimised.picture_cells import cell_of
from convscope.optimised.picture_sheets import both, hierarchy, sweep, variants
from convscope.render.grid import rows_of_cells
from convscope.synthesis.maximisation import PLAIN, Recipe
from convscope.synthesis.transforms import rotated

OUT = PICTURES / "optimised"
LARGEST_FILE = 250_000  # bytes
SHOWN = (1240, 2200)  # px at most
BATCH = 10  # keeps memory below 4 GB at 192 px
SIDE = 192
# goldfish, flamingo ...; the natural image was tuned, by eye, on some of them
CLASSES = (1, 130, 291, 340, 407, 437, 555, 779, 852, 951, 88, 207, 323, 388, 417, 933, 949, 970, 980, 985)
ABOVE, STEADY = 0.99, 19  # the probability that so many of the 20 are to have
# the Fire modules; features.6 and features.11 between them are poolings of the same units
LAYERS = tuple(f"features.{i}" for i in (3, 4, 5, 7, 8, 9, 10, 12))
RECIPES = {
    "plain": PLAIN,
    "pixels, tv 5000": Recipe(image="pixels", tv=5000),
    "fourier": Recipe(image="fourier"),
    "maco": Recipe(image="maco"),
    "natural": Recipe(),
}
SUBJECTS = ("zebra", "school bus", "features.10:40")


class Drawn(Protocol):
    """What can be drawn."""

    def picture(self) -> Image.Image: ...


# ---- 20 classes, and whether they are steady ----


def classes(net: cs.Network) -> cs.Pictures:
    """20 classes of SqueezeNet with the default options."""
    return cs.visualize(net, list(CLASSES), size=SIDE, batch=BATCH)


def moves(images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Other ways to shift and to turn than those of ``steady``, all of pictures that were saved with 8 bits."""
    saved = (images * 255).round() / 255
    yield "8 bits", saved
    yield "rolled", saved.roll((8, 8), (2, 3))
    yield "black edge", F.pad(saved, (8, 0, 8, 0))[:, :, : images.shape[2], : images.shape[3]]
    h, w = images.shape[2:]
    on_black = F.pad(saved, (w, w, h, h))
    yield "black corners", rotated(on_black, -5.0)[:, :, h : 2 * h, w : 2 * w]


def table(net: cs.Network, made: cs.Pictures) -> None:
    """A row a class, in logarithms what its probability lacks of 1; ends the program where too few are steady."""
    to_input, numbers = pixel_input(net), torch.tensor(CLASSES)[:, None]
    known = torch.tensor([one.odds for one in made.pictures if one.odds is not None]).double()
    odds = dict(zip(("as it is", "shifted", "turned"), known.T, strict=True))
    with torch.no_grad():
        for name, images in moves(made.values):
            logits = net.module(to_input(images)).double()
            others = logits.scatter(1, numbers, -torch.inf).logsumexp(1)
            odds[name] = logits.gather(1, numbers)[:, 0] - others
    print(f"{'log10 of 1 - p':30}" + "".join(f"{name:>14}" for name in odds))
    for row, (number, name) in enumerate(zip(CLASSES, made.names, strict=True)):
        lacks = [float(F.logsigmoid(-column[row])) / math.log(10) for column in odds.values()]
        print(f"{number:4} {name[:24]:25}" + "".join(f"{lack:14.1f}" for lack in lacks))
    counts = [int((column.sigmoid() > ABOVE).sum()) for column in odds.values()]
    print(f"{f'above {ABOVE}':30}" + "".join(f"{count:14}" for count in counts))
    kept = int((made.probabilities > ABOVE).all(1).sum())
    print(f"{kept} of {len(CLASSES)} above {ABOVE} as they are, shifted and turned; {STEADY} are asked for")
    if kept < STEADY:
        sys.exit(1)


# ---- the other sheets ----


def layers(net: cs.Network) -> Drawn:
    """Six units of each Fire module."""
    return hierarchy(net, LAYERS, 6, size=128, batch=BATCH)


class Compared:
    """The same targets, a column a recipe."""

    def __init__(self, net: cs.Network) -> None:
        self.columns = {
            name: cs.visualize(net, list(SUBJECTS), size=144, recipe=one, batch=BATCH) for name, one in RECIPES.items()
        }

    def picture(self) -> Image.Image:
        """Rows are targets."""
        every = list(self.columns.values())
        cells = [[cell_of(column.pictures[row], {}, 176, label="") for column in every] for row in range(len(SUBJECTS))]
        return rows_of_cells(
            cells, row_headings=SUBJECTS, column_headings=list(self.columns), tile_width=176,
            title="One network, three targets, five recipes",
            subtitle="Made by optimisation, 144 x 144 px, 160 steps, seed 0",
            footer=every[0].stamp.line(),
        )  # fmt: skip


def penalties(net: cs.Network) -> Drawn:
    """Total variation from none to too much."""
    return sweep(
        net, ["lion", "features.10:40"], "tv", [0, 500, 5000, 20_000, 80_000], image="pixels", size=128, batch=BATCH
    )


def several(net: cs.Network) -> Drawn:
    """One unit, four times."""
    return variants(net, "features.9:200", 4, size=128)


def pair(net: cs.Network) -> Drawn:
    """Two classes at once."""
    return both(net, [("zebra", "lion")], size=160)


DRAWN: dict[str, Callable[[cs.Network], Drawn]] = {
    "visualize-classes": classes,
    "visualize-layers": layers,
    "recipes": Compared,
    "recipes-tv": penalties,
    "visualize-variants": several,
    "visualize-both": pair,
}


def write(name: str, made: Drawn) -> None:
    """As large as a page has use for."""
    picture = made.picture()
    picture.thumbnail(SHOWN)
    file = OUT / f"{name}.webp"
    file.write_bytes(encoded(picture, LARGEST_FILE))
    print(name, picture.size, file.stat().st_size)


def main(folder: Path, names: list[str]) -> None:
    """All pictures, or those that are named."""
    if unknown := set(names) - set(DRAWN):
        sys.exit(f"no {', '.join(sorted(unknown))}; there are {', '.join(DRAWN)}")
    net = cs.load("torchvision:squeezenet1_0", weights=folder / "squeezenet1_0_imagenet.safetensors")
    for name in names or DRAWN:
        made = DRAWN[name](net)
        write(name, made)
        if isinstance(made, cs.Pictures):
            table(net, made)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
