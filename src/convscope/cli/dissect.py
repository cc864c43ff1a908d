"""``convscope dissect``: which units of a layer detect the concepts that photos are annotated with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import explain_options as given
from convscope.cli import options as opt
from convscope.cli.outputs import data_part, endings_of, model_part, name_part, save_as, sheets_folder
from convscope.cli.running import DONE, SKIPPED, command, say_skipped
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.atlases.dissections import Dissection

_COUNTING, _DRAWING = "Counting", "Drawing"
_MOST_LISTED = 20  # detectors of a layer in the printed table; --json has all


@command("dissect")
def dissect(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A folder or archive of photos, or hf:NAME.")],
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--boxes", help="CSV with path,x0,y0,x1,y1 (the first and last pixel), and class, label or class folders."
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            "--masks", help="Or a folder of PNG files named as the photos, one number a pixel, 0 for nothing."
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option("--names", help="What the masks' numbers are called: a CSV with number,name, or a JSON object."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", help="One or more, with commas: a sheet each. The last map by default."),
    ] = None,
    level: Annotated[
        float,
        typer.Option("--level", rich_help_panel=_COUNTING, help="Share of all places at which a unit counts as on."),
    ] = 0.005,
    least: Annotated[
        float,
        typer.Option("--iou", rich_help_panel=_COUNTING, help="A detector's intersection over union is above it."),
    ] = 0.04,
    units: Annotated[
        str | None,
        typer.Option("--units", rich_help_panel=_DRAWING, help="Units to draw, such as 2,7; the best by default."),
    ] = None,
    most: Annotated[
        int,
        typer.Option("--most", min=1, rich_help_panel=_DRAWING, help="How many units are drawn, where none are named."),
    ] = 8,
    photos: Annotated[
        int, typer.Option("--photos", min=1, max=20, rich_help_panel=_DRAWING, help="How many photos of each.")
    ] = 6,
    out: given.Out = Path("convscope-out"),
    save: given.Save = "png",
    model: opt.Model = None,
    weights: opt.Weights = None,
    classes: opt.Classes = None,
    size: opt.Size = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    batch: opt.Batch = 16,
    as_json: opt.Json = False,
) -> int:
    """Name the concepts that a layer's units detect, by the boxes or masks of annotated photos.

    A unit is on where it is above the level that it exceeds at 0.5 % of all places; its concept is that of the largest
    intersection over union with those regions, over all photos (Bau et al. 2017).

    [cyan]convscope dissect photos --boxes boxes.csv --layer features.18[/]

    [cyan]convscope dissect photos --masks masks --names names.csv --json[/]
    """
    from convscope.atlases import dissections
    from convscope.cli.progress import counted
    from convscope.views.units_asked import numbers_in

    endings = endings_of(save)
    chosen = None if units is None else numbers_in(units, "--units")
    sheets_folder(out)
    _refuse_missing(boxes, masks, names)
    net = opt.network(model, weights, classes, size, mean, std, trust_pickle, device)
    with counted("dissect") as on_step:
        asked: dict[str, Any] = {"level": level, "least": least, "units": chosen, "rows": most, "photos": photos}
        layers = opt.listed(layer, "--layer") or None
        found = dissections.dissect(net, data, boxes, masks, names, layers, **asked, batch=batch, on_step=on_step)
    stem = ".".join(part for part in (data_part(data), model_part(model, weights)) if part)
    done = [_write(one, out / stem, endings, units) for one in found.values()]
    _print(found, done, as_json=as_json)
    skipped = next(iter(found.values())).skipped
    for name, why in skipped.items():
        say_skipped(name, why)
    return SKIPPED if skipped else DONE


def _refuse_missing(boxes: Path | None, masks: Path | None, names: Path | None) -> None:
    """Before a network is loaded: what the two kinds of annotations cannot be."""
    if (boxes is None) == (masks is None):
        raise ConvscopeError("give --boxes FILE or --masks FOLDER, one of the two: what the photos show, and where")
    if names is not None and masks is None:
        raise ConvscopeError("--names goes with --masks; boxes have a column 'class', or the photos' folders")


def _write(one: "Dissection", stem: Path, endings: list[str], units: str | None) -> dict[str, Any]:
    kind = ["dissected", *([] if units is None else [f"units-{name_part([units])}"])]
    name = ".".join([stem.name, name_part([one.layer]), *kind])
    return {**one.as_json(), "files": save_as(one, stem.with_name(name), endings)}


def _print(found: "Mapping[str, Dissection]", done: list[dict[str, Any]], *, as_json: bool) -> None:
    from rich.text import Text

    from convscope.cli.tables import new_table, print_table

    if as_json:
        print(json.dumps(done, indent=1, ensure_ascii=False))
        return
    for one, entry in zip(found.values(), done, strict=True):
        table = new_table()
        for heading in ("unit", "concept") if one.detectors else ():
            table.add_column(heading)
        for heading in ("IoU", "precision", "threshold") if one.detectors else ():
            table.add_column(heading, justify="right")
        for row in entry["detectors"][:_MOST_LISTED]:
            numbers = f"{row['IoU']:.3f}", f"{row['precision']:.2f}", f"{row['threshold']:.4g}"
            table.add_row(Text(f"{one.layer}:{row['unit']}"), Text(row["concept"]), *numbers)
        left = len(entry["detectors"]) - _MOST_LISTED
        more = [f"... and {left} more (--json has all)"] if left > 0 else []
        print_table(table, above=[one.title], below=[*more, *one.notes, *entry["files"], ""])
