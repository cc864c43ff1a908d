"""``convscope visualize``: what units and classes look for, as pictures made by optimisation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import explain_options as given
from convscope.cli import options as opt
from convscope.cli.films import check_film, film_at, write_film
from convscope.cli.outputs import endings_of, model_part, name_part, print_written, save_as, sheets_folder
from convscope.cli.pairs import WithPairs, pairs_of
from convscope.cli.recipe_options import chosen, with_recipe
from convscope.cli.running import SKIPPED, command, say
from convscope.cli.visualize_asked import Asked, layers_named
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.cli.kept_work import KeptWork
    from convscope.network.loading import Network
    from convscope.optimised.picture_evolution import Evolution
    from convscope.results import Shown

_OF, _SHEETS, _RUN = "Of what", "Other sheets", "Run"
FILM_SECONDS = 6.0

Units = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="UNIT...",
        help="LAYER:3, several as LAYER:3,7,11 or LAYER:0-15 or LAYER:all, one neuron as LAYER:3@Y,X; also a layer or "
        "a class.",
    ),
]
Layer = Annotated[
    list[str] | None,
    typer.Option("--layer", "-l", rich_help_panel=_OF, help="One or more, with commas: their --units."),
]
Numbers = Annotated[
    str | None,
    typer.Option(
        "--units", rich_help_panel=_OF, show_default="the first 16", help="Of --layer: 2,7,17 or 0-63 or all."
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", "-c", metavar="NAME", rich_help_panel=_OF, help="Names or numbers, with commas; 0-9 too."),
]
Both = Annotated[
    list[str] | None,
    typer.Option("--both", metavar="A B", rich_help_panel=_SHEETS, help="Two units or classes at once. Repeatable."),
]
Layers = Annotated[
    list[str] | None,
    typer.Option("--layers", rich_help_panel=_SHEETS, help="With commas: a row a layer, from the first to the last."),
]
PerLayer = Annotated[
    int | None,
    typer.Option("--per-layer", min=1, rich_help_panel=_SHEETS, show_default="8", help="Units a row of --layers."),
]
Variants = Annotated[
    int | None,
    typer.Option("--variants", min=2, rich_help_panel=_SHEETS, help="So many different pictures of one unit or class."),
]
Diversity = Annotated[
    float | None,
    typer.Option(
        "--diversity",
        min=0,
        rich_help_panel=_SHEETS,
        show_default="1",
        help="How much unlikeness of --variants counts.",
    ),
]
Plain = Annotated[
    bool, typer.Option("--plain", help="No regularisation at all: pixels, no transforms; options below add to that.")
]
Animate = Annotated[
    str | None,
    typer.Option(
        "--animate", metavar="FILE", help="Also the way there from the random start: a .webp, .mp4 or .gif file; only "
        "the ending (webp) puts it beside the sheet.",
    ),
]  # fmt: skip
Against = Annotated[
    Path | None,
    typer.Option(
        "--against", metavar="FOLDER", help="Photos: each unit's peak in per cent of its strongest activation there."
    ),
]
Batch = Annotated[
    int,
    typer.Option("--batch", min=1, max=1024, rich_help_panel=_RUN, help="Pictures made at once; bounds the memory."),
]


@command("visualize", cls=WithPairs)
@with_recipe
def visualize(
    units: Units = None,
    layer: Layer = None,
    numbers: Numbers = None,
    class_: Classes = None,
    both: Both = None,
    layers: Layers = None,
    per_layer: PerLayer = None,
    variants: Variants = None,
    diversity: Diversity = None,
    plain: Plain = False,
    animate: Animate = None,
    against: Against = None,
    out: given.Out = Path("convscope-out"),
    save: given.Save = "png",
    model: opt.Model = None,
    weights: opt.Weights = None,
    classes: opt.Classes = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    batch: Batch = 16,
    resume: opt.Resume = False,
    as_json: opt.Json = False,
    **recipe: Any,
) -> int:
    """Make pictures of what units and classes look for, by optimisation: one sheet, with what each picture reaches.

    [cyan]convscope visualize features.18:3 features.18:7[/]

    [cyan]convscope visualize --class lion --image pixels --tv 0,50,500[/]   a sheet that sweeps

    [cyan]convscope visualize --layers features.0,features.8,features.18[/]   a row a layer
    """
    asked = Asked(
        list(units or []), opt.listed(layer, "--layer"), numbers, list(class_ or []), pairs_of(both, "--both"),
        layers_named(layers), per_layer, variants, diversity, plain, chosen(recipe), animate,
    )  # fmt: skip
    asked.refuse_contradictions()
    endings = endings_of(save)
    sheets_folder(out)
    net_options = (mean, std, trust_pickle, device)
    parts = (asked.in_words, model_part(model, weights), _of_photos(against))
    stem = out / ".".join(part for part in parts if part)
    check_film(animate, results=1)
    _ = asked.recipe  # refused before a network is loaded
    net = opt.network(model, weights, classes, asked.size, *net_options)
    film = None if animate is None else film_at(animate, stem)
    return _Job(net, asked, stem, endings, film, against, batch, as_json).run(out, resume)


def _of_photos(against: Path | None) -> str:
    return "" if against is None else f"against-{name_part([against.resolve().name])}"


@dataclass(frozen=True)
class _Job:
    """One run: its pictures, kept while they are made, then written."""

    net: "Network"
    asked: Asked
    stem: Path
    endings: list[str]
    film: Path | None
    against: Path | None
    batch: int
    as_json: bool

    def run(self, out: Path, resume: bool) -> int:
        from convscope.cli.kept_work import kept_work, network_asked
        from convscope.optimised.interrupted import UnfinishedError

        request = {"net": network_asked(self.net), "asked": self.asked, "batch": self.batch}
        with kept_work(out, "visualize", request, resume=resume, write_ready=self.write) as work:
            try:
                made, evolution = self.made(work)
            except UnfinishedError as stopped:
                if stopped.ready is None:
                    raise
                self.write(stopped.ready)
                say(f"stopped: {stopped}; not made: {', '.join(stopped.missing)}")
                return SKIPPED
            self.write(made, evolution)
        return 0

    def made(self, work: "KeptWork") -> "tuple[Shown, Evolution | None]":
        """The sheet, and the way there where it was asked for."""
        from convscope.cli.progress import counted
        from convscope.optimised.picture_evolution import Evolution

        options: dict[str, Any] = {"batch": self.batch, "keeper": work, "strongest": self.strongest()}
        evolution = None
        if self.film is not None:
            evolution = Evolution(self.asked.recipe.steps, self.asked.count(self.net), work)
            options |= {"keeper": evolution, "on_frame": evolution.on_frame}
        with counted("visualize") as on_step:
            return self.asked.made(self.net, options | {"on_step": on_step}), evolution

    def strongest(self) -> dict[str, float] | None:
        """Of every unit of the layers that were asked for, over the photos of ``--against``."""
        from convscope.cli.progress import counted
        from convscope.views.reference_photos import ReferencePhotos

        if self.against is None:
            return None
        layers = self.asked.layers_of_units(self.net)
        if not layers:
            raise ConvscopeError("--against compares the activations of units, and none was asked for")
        with counted(f"photos of {self.against.name}") as on_step:
            return ReferencePhotos(self.net, self.against, batch=self.batch, on_step=on_step).strongest(layers)

    def write(self, made: "Shown", evolution: "Evolution | None" = None) -> None:
        """The sheet, the animation, and on stdout what was made."""
        about: Any = made
        files = save_as(made, self.stem, self.endings)
        if evolution is not None and self.film is not None:
            names = (about if self.asked.sheet == "pictures" else about.made).names
            files.append(write_film(self.film, evolution.frames(names, about.title), seconds=FILM_SECONDS))
        print_written([{"files": files, self.asked.sheet: about.as_json()}], as_json=self.as_json)
