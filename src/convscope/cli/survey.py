"""``convscope survey``: what every unit says of a whole data set, kept in an atlas."""

import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import options as opt
from convscope.cli.outputs import data_part
from convscope.cli.running import DONE, REFUSED, SKIPPED, command, say, say_skipped
from convscope.errors import ConvscopeError, nearest
from convscope.wording import percent

if TYPE_CHECKING:
    from convscope.dataset.engines import Engine
    from convscope.store.atlas import Atlas

_WHAT, _RUN = "What", "Run"
ENGINES = ("process", "ray")
MOST_NAMED = 10
SECONDS_BETWEEN = 30.0  # of two lines in a log

Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="A folder, flat or of class folders; a zip or tar; hf:NAME; bundled:digits."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="The atlas to make; DATA's name with .atlas by default.")]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layers", "-l", rich_help_panel=_WHAT, show_default="all convolutions",
        help="Names, patterns such as 'features.*', or all; several with commas.",
    ),
]  # fmt: skip
Top = Annotated[
    int | None,
    typer.Option("--top", "-k", min=1, rich_help_panel=_WHAT, show_default="9", help="Exemplars of every unit."),
]
PerImage = Annotated[
    int | None,
    typer.Option(
        "--per-image", min=1, rich_help_panel=_WHAT, show_default="1",
        help="Exemplars that one image may give a unit.",
    ),
]  # fmt: skip
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels", rich_help_panel=_WHAT, show_default="auto",
        help="Where the right answers are: folders, names (of files), none, or auto; groups: folders that are no "
        "classes of the network.",
    ),
]  # fmt: skip
Features = Annotated[
    int | None,
    typer.Option(
        "--features", min=1, rich_help_panel=_WHAT, show_default="4096", help="Images whose features are kept, at most."
    ),
]
Patterns = Annotated[
    list[str] | None,
    typer.Option(
        "--patterns", rich_help_panel=_WHAT, show_default="the last", help="Layers whose mean maps a class are kept."
    ),
]  # fmt: skip
Pictures = Annotated[
    bool | None,
    typer.Option(
        "--pictures/--no-pictures", rich_help_panel=_WHAT, show_default="pictures",
        help="Cut the exemplars out of the photos.",
    ),
]  # fmt: skip
Deconv = Annotated[
    bool, typer.Option("--deconv", rich_help_panel=_WHAT, help="Also each exemplar's deconvnet picture: takes longer.")
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch", min=1, max=1024, rich_help_panel=_RUN, show_default="8 to 64, by size", help="Images a pass."
    ),
]
Shard = Annotated[
    int | None,
    typer.Option(
        "--shard", min=1, rich_help_panel=_RUN, show_default="256",
        help="Images a part: what is lost when it is killed.",
    ),
]  # fmt: skip
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", rich_help_panel=_RUN, help="Replace an atlas, which stays until the new one is whole."),
]
Resume = Annotated[
    bool, typer.Option("--resume", rich_help_panel=_RUN, help="Go on where it was stopped; starts where nothing is.")
]
EngineName = Annotated[
    str, typer.Option("--engine", rich_help_panel=_RUN, help="process: this one, or torchrun's; ray: Ray's workers.")
]
RayAddress = Annotated[
    str | None, typer.Option("--ray-address", rich_help_panel=_RUN, help="A Ray that runs already; auto finds it.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, rich_help_panel=_RUN, show_default="one a core",
        help="Batches computed at once; with --engine ray its workers.",
    ),
]  # fmt: skip


@command("survey")
def survey(
    data: Data,
    out: Out = None,
    layers: Layers = None,
    top: Top = None,
    per_image: PerImage = None,
    labels: Labels = None,
    features: Features = None,
    patterns: Patterns = None,
    pictures: Pictures = None,
    deconv: Deconv = False,
    model: opt.Model = None,
    weights: opt.Weights = None,
    classes: opt.Classes = None,
    size: opt.Size = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    batch: BatchSize = None,
    shard: Shard = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    engine: EngineName = "process",
    ray_address: RayAddress = None,
    threads: Threads = None,
    as_json: opt.Json = False,
) -> int:
    """Survey a data set: for every unit its strongest exemplars and statistics, in one pass, kept in an atlas.

    [cyan]convscope survey photos --model torchvision:resnet50 --out photos.atlas[/]

    [cyan]torchrun --nproc-per-node 8 -m convscope survey photos --out photos.atlas[/]   a GPU each
    """
    from convscope.atlases.surveying import survey as made
    from convscope.dataset.ranks import OtherRankError, is_torchrun, local_device, ranks

    named, mapped = opt.listed(layers, "--layers") or None, opt.listed(patterns, "--patterns") or None
    chosen = _engine(engine, ray_address, threads)
    net = opt.network(model, weights, classes, size, mean, std, trust_pickle, device or local_device())
    mine = ranks() if chosen is None else None
    is_first = mine is None or mine.rank == 0
    folder = out or Path(f"{_stem(data)}.atlas")
    try:
        with _bars(shown=is_first) as bars:
            atlas = made(
                net, data, folder, named, top, per_image=per_image, labels=labels, batch=batch,
                shard=shard, features=features, patterns=mapped, pictures=pictures, deconv=deconv,
                resume=resume, overwrite=overwrite, engine=mine or chosen, threads=threads,
                on_step=bars, on_note=(lambda text: say(f"note: {text}")) if is_first else None,
            )  # fmt: skip
    except OtherRankError:  # it has said why
        return REFUSED
    if is_first:
        _print(atlas, as_json=as_json)
    return SKIPPED if atlas.skipped and not is_torchrun() else DONE  # torchrun takes any other code for a crash


def _stem(data: str) -> str:
    """What an atlas of these data is called: as they are, an archive without its ending."""
    if data.startswith("hf:"):
        return Path(data.removeprefix("hf:")).name or "survey"
    if data.startswith("bundled:"):
        return data_part(data)
    from convscope.dataset.image_sources import without_archive_suffix

    path = Path(data)
    name = path.name if path.name not in ("", "..") else path.resolve().name  # "." has no name
    return (name if path.is_dir() else without_archive_suffix(name)) or "survey"


def _engine(name: str, address: str | None, threads: int | None) -> "Engine | None":
    """The engine that was asked for; None is this process, or torchrun's ranks."""
    if name not in ENGINES:
        raise ConvscopeError(f"--engine {name!r} is none of {', '.join(ENGINES)}{nearest(name, ENGINES)}")
    if name == "process":
        if address is not None:
            raise ConvscopeError("--ray-address goes with --engine ray")
        return None
    from convscope.dataset.ray_engine import RayEngine

    return RayEngine(address, threads, lambda text: say(f"note: {text}"))


@contextmanager
def _bars(*, shown: bool) -> Generator[Callable[[str, int, int], None]]:
    """A bar for each part of the work; where stderr is no terminal, a line now and then, for a log."""
    from convscope.cli.progress import staged
    from convscope.dataset.filling import untold

    if not shown:
        yield untold
        return
    if sys.stderr.isatty():
        with staged() as show:
            yield show
        return
    yield _lines()


def _lines() -> Callable[[str, int, int], None]:
    last = time.monotonic()

    def show(what: str, done: int, every: int) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN:
            last = time.monotonic()
            say(f"{what}: {done:,} of {every:,}")

    return show


def _print(atlas: "Atlas", *, as_json: bool) -> None:
    for name, why in itertools.islice(atlas.skipped, MOST_NAMED):
        say_skipped(name, why)
    if len(atlas.skipped) > MOST_NAMED:
        say(f"skipped {len(atlas.skipped) - MOST_NAMED:,} more: they are in the atlas")
    for layer, (units, image) in _nonfinite(atlas).items():
        how_many = "1 unit" if units == 1 else f"{units} units"
        say(f"note: {how_many} of {layer} gave NaN or infinite values, first for {image}: they never win")
    if as_json:
        print(json.dumps(_summary(atlas), indent=1, ensure_ascii=False))
    else:
        _print_table(atlas)


def _nonfinite(atlas: "Atlas") -> dict[str, tuple[int, str]]:
    """Layer -> units with values that are not finite, and the first unit's first image."""
    found: dict[str, tuple[int, str]] = {}
    for unit, _, _, _, image in atlas.nonfinite():
        layer = unit.rpartition(":")[0]
        units, first = found.get(layer, (0, image))
        found[layer] = units + 1, first
    return found


def _print_table(atlas: "Atlas") -> None:
    from rich.text import Text

    from convscope.atlases.duplicates_sought import enough_images, not_sought, sought
    from convscope.cli.tables import new_table, print_table

    table, summary = new_table(), _summary(atlas)
    table.add_column("layer")
    for heading in ("units", "map", "receptive field", "dead", "duplicates"):
        table.add_column(heading, justify="right")
    for layer, row in zip(atlas.layers, summary["layers"], strict=True):
        field = "whole input" if layer.field_size is None else _sides(layer.field_size)
        counts = (f"{row[name]:,}" if row[name] else "" for name in ("dead", "duplicates"))
        cells = (layer.name, f"{layer.units:,}", _sides(layer.shape), field, *counts)
        table.add_row(*(Text(cell) for cell in cells))
    right = "" if summary["accuracy"] is None else f", {percent(summary['accuracy'])} answered rightly"
    images = f"{atlas.images:,} image{'' if atlas.images == 1 else 's'}"
    unknown = [] if sought(atlas) else [not_sought(enough_images(atlas))]
    print_table(table, above=[f"{atlas.about['network']['name']} on {atlas.about['data_line']}"], below=[
        "", f"{images}{right}; {len(atlas.skipped):,} skipped", *unknown, str(atlas.path),
    ])  # fmt: skip


def _sides(sides: tuple[int, int]) -> str:
    return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]} x {sides[1]}"


def _summary(atlas: "Atlas") -> dict[str, Any]:
    from convscope.atlases.duplicates_sought import sought

    judged = list(atlas.accuracy().values())
    right, images = sum(r for r, _ in judged), sum(n for _, n in judged)
    dead = Counter(unit.rpartition(":")[0] for unit in atlas.dead())
    known = sought(atlas)
    alike = Counter(unit.rpartition(":")[0] for unit, *_ in atlas.duplicates())
    return {
        "atlas": str(atlas.path),
        "images": atlas.images,
        "skipped": [{"image": name, "reason": why} for name, why in atlas.skipped],
        "layers": [
            {"name": e.name, "units": e.units, "dead": dead[e.name], "duplicates": alike[e.name] if known else None}
            for e in atlas.layers
        ],
        "classes": len(atlas.classes),
        "accuracy": right / images if images else None,
    }
