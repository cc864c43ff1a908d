"""Draw the pictures of the page on digits, and print the figures that stand on it.

    python docs/make_digit_pictures.py

``examples/digits.py`` trains the network here, twice: as it stands, and without the harm (EPSILON 0). Some two minutes
on one core.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from make_pictures import PICTURES, encoded
from PIL import Image
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
import digits

import convscope as cs
from convscope.drawing import picture_of
from convscope.optimised.one_picture import Picture
from convscope.optimised.picture_pairs import Both
from convscope.render.sheet import matrix
from convscope.render.tile import Tile
from convscope.wording import percent

OUT = PICTURES / "optimised"
LARGEST_FILE = 200_000  # bytes
WIDTH = 680  # points
HARM = 0.2  # by how much a pixel may be changed where the two networks are compared
UNMOVED = {"jitter": 0, "rotate": 0, "scale": (1, 1)}


def trained(epsilon: float) -> nn.Module:
    """The example's network, trained against changes of up to ``epsilon`` a pixel; what it gets right is printed."""
    learnt, (images, labels) = digits.read_digits()
    digits.EPSILON = epsilon
    model = digits.train(*learnt)
    changed = digits.hurt(model, images, labels, HARM)
    right, left = (digits.accuracy(model, seen, labels) for seen in (images, changed))
    print(
        f"epsilon {epsilon}: {right:.1%} of {len(labels)} held-out digits, {left:.1%} changed by up to {HARM} a pixel"
    )
    return model


def tile(one: Picture, *, caption: str = "", note: str = "") -> Tile:
    """A digit, its pixels left visible."""
    return Tile(picture_of(one.values), caption, note, pixels=True)


def row(net: cs.Network, tv: float, **changes: object) -> list[Tile]:
    """The ten digits under one weight of the total variation."""
    made = cs.visualize(net, digits.CLASSES, recipe=digits.RECIPE.changed(**changes), tv=tv, steps=256)
    print("  tv", tv, changes, "least probability", percent(min(one.probabilities[0] for one in made.pictures)))
    return [tile(one) for one in made.pictures]


def swept(net: cs.Network) -> Image.Image:
    """A row a digit, a column a weight."""
    made = digits.swept(net)
    rows = [[tile(made.made(i, k)) for k in range(len(made.settings))] for i in range(len(made.targets))]
    headings = [f"tv {value:g}" for value in made.settings]
    return matrix(rows, column_headings=headings, tile_width=WIDTH // len(headings))


def rows_of_digits(rows: Sequence[tuple[str, list[Tile]]]) -> Image.Image:
    """Ten digits a row, with what is different from row to row before them."""
    return matrix(
        [tiles for _, tiles in rows],
        row_headings=[heading for heading, _ in rows],
        column_headings=digits.CLASSES,
        tile_width=WIDTH // 10,
    )


def networks(plain: cs.Network, hardened: cs.Network) -> Image.Image:
    """Both networks under three weights."""
    weights = (0.125, 4, 16)
    rows = [(f"plain tv {tv:g}", row(plain, tv)) for tv in weights]
    return rows_of_digits(rows + [(f"hardened tv {tv:g}", row(hardened, tv)) for tv in weights])


def moves(net: cs.Network) -> Image.Image:
    """With moves and without them, with little total variation and with more."""
    rows = [(f"no moves tv {tv:g}", row(net, tv, **UNMOVED)) for tv in (0.125, 4)]
    return rows_of_digits(rows + [(f"moves tv {tv:g}", row(net, tv)) for tv in (0.125, 4)])


def pairs(net: cs.Network) -> Image.Image:
    """A row a pair: each alone, and both at once from four starts, with the shares of their lone logits."""
    made = [digits.pairs(net, seed=seed) for seed in range(digits.STARTS)]
    for pair, lesser in digits.lesser_shares(made).items():
        mean = sum(lesser) / len(lesser)
        print(f"  {' & '.join(pair)}: {mean:.0%} ({', '.join(f'{one:.0%}' for one in lesser)})")
    rows = [pair_row(made, i) for i in range(len(digits.PAIRS))]
    headings = ["alone", *(f"start {seed}" for seed in range(digits.STARTS)), "alone"]
    return matrix(rows, column_headings=headings, tile_width=WIDTH // len(headings))


def pair_row(made: list[Both], i: int) -> list[Tile]:
    """One pair: the first alone, the starts, the second alone; the lone ones from the first start."""
    a, b = digits.PAIRS[i]
    middle: list[Tile] = []
    for one in made:
        share = digits.shares(one)[a, b]
        readings = one.readings[i]
        print(f"  {a} & {b}: logits {readings[0].score:.2f}, {readings[1].score:.2f}; p", end=" ")
        print(", ".join(percent(r.probabilities[0]) for r in readings), "of lone", *(f"{s:.0%}" for s in share))
        middle.append(tile(readings[0], caption=f"{a} & {b}", note=f"{a}: {share[0]:.0%}  {b}: {share[1]:.0%}"))
    sides = [tile(made[0].alone(name), caption=name, note=f"logit {made[0].alone(name).score:.1f}") for name in (a, b)]
    return [sides[0], *middle, sides[1]]


def main() -> None:
    torch.manual_seed(0)
    plain, hardened = (digits.loaded(trained(epsilon)) for epsilon in (0, digits.EPSILON))
    drawn = {
        "digits-tv": swept(hardened),
        "digits-networks": networks(plain, hardened),
        "digits-moves": moves(hardened),
        "digits-pairs": pairs(hardened),
    }
    for name, picture in drawn.items():
        file = OUT / f"{name}.webp"
        file.write_bytes(encoded(picture, LARGEST_FILE))
        print(name, picture.size, file.stat().st_size)


if __name__ == "__main__":
    main()
