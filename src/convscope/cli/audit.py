"""``convscope audit``: why is it wrong? A network's errors over labelled images, on one page."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convscope.cli import options as opt
from convscope.cli.outputs import data_part, model_part, sheets_folder
from convscope.cli.running import DONE, SKIPPED, command, say, say_skipped

if TYPE_CHECKING:
    from convscope.audits.audit_results import Audit

_DATA, _PAGE = "Data", "Page"
_LISTED = 20  # errors in the printed table


@command("audit")
def audit(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Labelled images: class folders, an archive of them, or hf:NAME.")
    ],
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--boxes",
            rich_help_panel=_DATA,
            help="CSV with path,x0,y0,x1,y1 (the first and last pixel): whether the maps lie on the object.",
        ),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            metavar="DATA|NAME.atlas",
            rich_help_panel=_DATA,
            help="The training images, or an atlas of them: what lies near each error. Without it the data itself.",
        ),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            rich_help_panel=_DATA,
            help="Where the classes are: folders, names, groups (any folders) or auto.",
        ),
    ] = "auto",
    top: Annotated[
        int, typer.Option("--top", min=0, max=200, rich_help_panel=_PAGE, help="How many errors are drawn.")
    ] = 20,
    method: Annotated[
        str, typer.Option("--method", rich_help_panel=_PAGE, help="Of the maps; 'convscope methods' lists them.")
    ] = "grad-cam",
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            "-l",
            rich_help_panel=_PAGE,
            help="Whose maps, units and distances; by default the last map, and what the last linear layer is given.",
        ),
    ] = None,
    nearest: Annotated[
        int, typer.Option("--nearest", min=1, max=20, rich_help_panel=_PAGE, help="How many images near each error.")
    ] = 5,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder in which the page's own folder is made.")] = Path(
        "convscope-out"
    ),
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
    """Why is it wrong? The errors over labelled images by loss, on one page.

    For each the maps of the answered and of the expected class on one scale, the training images nearest to it,
    whether the map lies on the object, and the units that lift the wrong class; on top the confusions and the labels in
    doubt.

    [cyan]convscope audit test --train train[/]

    [cyan]convscope audit val --boxes boxes.csv --train train.atlas --top 30[/]
    """
    from convscope.audits import auditing
    from convscope.audits.audit_page import PAGE
    from convscope.cli.progress import staged
    from convscope.dataset.image_sources import source_of
    from convscope.writing import replaceable_folder

    sheets_folder(out)
    stem = ".".join(part for part in (data_part(data), model_part(model, weights)) if part)
    folder = replaceable_folder(out / f"{stem}.audit", PAGE)
    source = source_of(data, besides=out)
    net = opt.network(model, weights, classes, size, mean, std, trust_pickle, device)
    with staged() as on_step:
        made = auditing.audit(
            net, source, boxes=boxes, train=train, top=top, method=method, layer=layer, nearest=nearest, labels=labels,
            batch=batch, on_step=on_step,
        )  # fmt: skip
        page = made.save_page(folder)
    for note in made.notes:
        say(f"note: {note}")
    if as_json:
        print(json.dumps({**made.as_json(), "files": [str(page)]}, indent=1, ensure_ascii=False))
    else:
        _print(made, page)
    for name, why in made.skipped.items():
        say_skipped(name, why)
    return SKIPPED if made.skipped else DONE


def _print(made: "Audit", page: Path) -> None:
    from rich.text import Text

    from convscope.audits.audit_results import images_word, place_words
    from convscope.cli.tables import new_table, print_table
    from convscope.wording import percent

    table = new_table()
    for heading in ("", "image", "is", "answered", "loss", "probability", "nearest") if made.errors else ():
        table.add_column(heading, justify="right" if heading in ("", "loss", "probability") else "left")
    for rank, one in enumerate(made.errors[:_LISTED]):
        near = ", ".join(each.label or "?" for each in made.near[rank])
        cells = one.name, made.label_of(one), made.called(one), f"{one.loss:.2f}", percent(one.probability), near
        table.add_row(*(Text(cell) for cell in (str(rank + 1), *cells)))
    more = len(made.errors) - _LISTED
    below = [f"... and {more:,} more (the page has all)"] if more > 0 else []
    for each in made.confusions:
        units = ", ".join(f"{u.unit} {u.lift:+.2f}".replace("-", "−") for u in each.units) or "no unit alone"
        below.append(f"{each.label} → {each.called}: {images_word(each.images)}, lifted by {units}")
    if made.looking:
        below.append(f"maps of errors: {place_words(made.looking.errors)}")
        below.append(f"maps of right answers: {place_words(made.looking.right)}")
    if made.errors:
        below.append(f"labels in doubt: {made.suspected}")
    print_table(table, above=[f"{made.title} ({made.data})"], below=[*below, str(page)])
