"""A chapter on the units of the digits' network: a survey of all digits, and what its sheets say."""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from convscope.tours.chapter import Sheet, Stage
from convscope.tours.workshop import ATLAS, RUN, Workshop

if TYPE_CHECKING:
    from convscope.store.atlas import Atlas

NAME = "units"  # of the chapter
MAPS, DENSE = ("relu1", "relu2", "relu3"), "dense1"
MEANS = {
    "relu1": "The mean answer of each unit of the first layer to all digits of one kind. The digit can be read in it: "
    "some units draw its strokes, others the paper around them. A colour says how loud a unit is among the others.",
    "relu2": "The same in the second layer: strokes that lean one way, hollows that open to one side. The digit is "
    "only just to be seen.",
    "relu3": "In the third layer it is all but gone. What is left are rough places in which something was found, and "
    "which unit found it says more than where.",
}


def _units(shop: Workshop) -> Iterator[Sheet]:
    from convscope.atlases.embeddings import embed_atlas
    from convscope.atlases.surveying import survey

    folder, layers = shop.folder / ATLAS, [*MAPS, DENSE]
    made = survey(shop.digits, shop.pace.digits, folder, layers, patterns=list(MAPS), resume=True, on_step=shop.tell)
    with closing(made) as atlas:
        yield _contact_sheet(atlas, shop.pace.digits)
        yield from _by_class(atlas)
        yield from _of_all(atlas)
        shop.tell("a map of the digits", 0, 1)
        yield Sheet(
            "embedding.png", embed_atlas(atlas, DENSE, shop.pace.embedding),
            alt="Points in ten colours that lie in groups, and beside them the digits themselves in the same places.",
            text="Every digit as a point; those that the network finds alike lie close together. What lies in a group "
            "of another colour is a digit that is easily misread.",
            commands=(f"embed {ATLAS} --layer {DENSE} --method {shop.pace.embedding}",),
        )  # fmt: skip


def _contact_sheet(atlas: "Atlas", digits: str) -> Sheet:
    from convscope.atlases.contact_sheets import contact_sheet

    sheet = contact_sheet(atlas, MAPS[1])
    dead = [one.unit.unit for one in sheet.units if one.dead]
    maps = ",".join(MAPS)
    asked = f"--layers {maps},{DENSE} --patterns {maps}"
    return Sheet(
        "contact-sheet.png", sheet,
        alt="Nine units, each with nine small crops of digits that look alike, and where in the digits they lie.",
        text="For each unit of the second layer, the nine places in all digits that drove it most: one may look for a "
        f"stroke that leans, another for an edge or a hollow.{_said_of(dead)}",
        commands=(
            f"survey {digits} {asked} {RUN} --out my/digits.atlas",
            f"unit my/digits.atlas {MAPS[1]}",
        ),
    )  # fmt: skip


def _said_of(dead: list[int]) -> str:
    if not dead:
        return ""
    named = f"Unit {dead[0]} is" if len(dead) == 1 else f"Units {', '.join(map(str, dead))} are"
    return f" {named} dead: never above zero, whatever the digit, and of no use to the network."


def _by_class(atlas: "Atlas") -> Iterator[Sheet]:
    from convscope.atlases.class_activations import class_activations
    from convscope.atlases.class_patterns import mean_patterns

    for layer, text in MEANS.items():
        yield Sheet(
            f"mean-maps-{layer}.png", mean_patterns(atlas, layer),
            alt="A table of ten rows, a digit each, and a column a unit, with faint coloured shapes of the digits.",
            text=text,
            commands=(f"stats {ATLAS} {layer}",),
        )  # fmt: skip
    yield Sheet(
        "class-activations.png", class_activations(atlas, MAPS[2]),
        alt="Ten bar charts, one a digit, of how strongly each unit of the third layer answers.",
        text="How strongly each unit of the third layer answers to each digit. The small line is its mean over all "
        "digits: where a bar goes far beyond it, the unit helps to tell this digit.",
        commands=(f"stats {ATLAS} {MAPS[2]}",),
    )  # fmt: skip


def _of_all(atlas: "Atlas") -> Iterator[Sheet]:
    from convscope.atlases.prototypes import prototypes
    from convscope.atlases.statistics_sheets import network_statistics

    yield Sheet(
        "statistics.png", network_statistics(atlas),
        alt="Three charts over the layers: how often units are above zero, how selective they are, how strong.",
        text="All layers at a glance. The second chart says how selective units are: 0 answers to all digits alike, 1 "
        "to one of them only. It rises from layer to layer, which is what a network that tells digits apart needs.",
        commands=(f"stats {ATLAS}",),
    )  # fmt: skip
    yield Sheet(
        "prototypes.png", prototypes(atlas),
        alt="For each digit two written examples.",
        text="For each digit the example that the network is surest of, and the one that excites it most.",
        commands=(f"prototypes {ATLAS}",),
    )  # fmt: skip


UNITS = Stage(
    NAME, "What do its units react to?",
    "A survey sends every digit through the network once, and keeps what drove each unit and how often it spoke.",
    "The strongest crops are nine of thousands: a unit may answer to much else, only less. That we find a word for "
    "what they show does not mean that the network works with that word.",
    35, _units,
)  # fmt: skip
