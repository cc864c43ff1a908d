"""``convscope training``: a training again, as its epochs' numbers and as sheets, films and a page."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import options as opt
from convscope.cli.outputs import endings_of, sheets_folder
from convscope.cli.running import DONE, SKIPPED, command, say_skipped

if TYPE_CHECKING:
    from convscope.trainings.findings import Finding
    from convscope.trainings.loss_curves import LossCurves
    from convscope.trainings.report import Drawn
    from convscope.trainings.training_run import TrainingRun

NO_FILMS = "none"
Run = Annotated[
    Path, typer.Argument(metavar="NAME.run", help="A training that 'convscope train' or a probe in your own loop made.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder for the page, its sheets and films.", show_default="report in NAME.run"),
]
Save = Annotated[
    str,
    typer.Option("--save", help="Forms of each sheet besides png: jpg, webp, html, npz (raw values), with commas."),
]
Embedding = Annotated[
    str | None,
    typer.Option(
        "--embedding",
        help="Lay the images out anew: t-sne or pca, of what the snapshots keep.",
        show_default="as the probe did",
    ),
]
Animate = Annotated[str, typer.Option("--animate", help="The films' ending: webp, gif or mp4; none makes no films.")]


@command("training")
def training(
    run: Run,
    out: Out = None,
    save: Save = "png",
    animate: Animate = "webp",
    embedding: Embedding = None,
    as_json: opt.Json = False,
) -> int:
    """Print a training's epochs and draw it again: curves, confusions, filters, embedding, layers, and a page of all.

    Of a training that runs, or was broken off, what is there so far. Is it learning, or learning by heart; which
    classes are mixed up, and since when; do layers die or stand still?

    [cyan]convscope training digits.run[/]

    [cyan]convscope training mine.run --out pages --save npz --animate gif[/]
    """
    from convscope.trainings.report import drawn_sections
    from convscope.trainings.training_run import open_training

    forms = [form for form in endings_of(save) if form != "png"]
    film = _film(animate)
    opened = open_training(run)
    place = _place(opened, out)
    drawn, left_out = drawn_sections(opened, embedding and embedding.lower())
    page = _written(opened, drawn, left_out, place, film, forms)
    curves, found = _curves(drawn)
    files = _files(page)
    if as_json:
        print(json.dumps(_as_json(opened, curves, found, page, files), indent=1, ensure_ascii=False))
    else:
        _print(opened, curves, found, page)
    for epoch, why in opened.broken.items():
        say_skipped(f"epoch {epoch}", why)
    return SKIPPED if opened.broken else DONE


def _film(animate: str) -> str | None:
    from convscope.render.animation import check_ending

    ending = animate.lower().removeprefix(".")
    if ending == NO_FILMS:
        return None
    check_ending(ending)
    return ending


def _place(opened: "TrainingRun", out: Path | None) -> Path:
    from convscope.store.run_folder import REPORT
    from convscope.writing import writable_folder

    return writable_folder(opened.path / REPORT) if out is None else sheets_folder(out)


def _curves(drawn: "list[Drawn]") -> "tuple[LossCurves | None, list[Finding]]":
    """The epochs' numbers and what can be said of the training; None where no number was measured."""
    from convscope.trainings.findings import findings
    from convscope.trainings.loss_curves import LossCurves

    shown = [one.shown for one in drawn]
    return next((one for one in shown if isinstance(one, LossCurves)), None), findings(shown)


def _written(
    opened: "TrainingRun", drawn: "list[Drawn]", left_out: dict[str, str], place: Path, film: str | None,
    forms: list[str],
) -> Path:  # fmt: skip
    from convscope.cli.progress import counted
    from convscope.trainings.report import write_pages

    with counted("report") as on_step:
        return write_pages(opened, drawn, left_out, place, film=film, forms=forms, on_step=on_step)


def _files(page: Path) -> list[str]:
    """The sheets and films beside the page."""
    from convscope.trainings.report import SECTIONS

    beside = (file for section in SECTIONS for file in sorted(page.parent.glob(f"{section.key}.*")))
    return [str(file) for file in beside]


def _as_json(
    opened: "TrainingRun", curves: "LossCurves | None", found: "list[Finding]", page: Path, files: list[str]
) -> dict[str, Any]:
    about: dict[str, Any] = {"run": str(opened.path), "state": opened.training.state, "classes": list(opened.classes)}
    about |= {"epochs": [] if curves is None else curves.as_json()}
    about |= {"lowest": None if curves is None else {"split": curves.judged_by, "epoch": curves.best_epoch}}
    about |= {"findings": {one.question: one.answer for one in found}}
    about |= {"broken": dict(opened.broken), "missing": list(opened.missing)}
    return about | {"page": str(page), "files": files}


def _print(opened: "TrainingRun", curves: "LossCurves | None", found: "list[Finding]", page: Path) -> None:
    from convscope.cli.tables import new_table, print_table

    table = new_table()
    if curves is not None:
        table.add_column("epoch", justify="right")
        for split in curves.splits:
            table.add_column(f"{split}: loss", justify="right")
            table.add_column("right", justify="right")
        for row in curves.as_json():
            table.add_row(*_cells(row, curves))
    said = [f"{one.question} {one.answer}" for one in found]
    lacking = [f"not all is there: {opened.lacking()}"] if opened.lacking() else []
    star = [] if curves is None else [f"*: the lowest loss on {curves.judged_by}"]
    print_table(table, above=[opened.name], below=[*star, "", *said, *lacking, "", str(page)])


def _cells(row: dict[str, Any], curves: "LossCurves") -> list[str]:
    from convscope.wording import percent

    cells = [f"{'* ' if row['epoch'] == curves.best_epoch else ''}{row['epoch']}"]
    for split in curves.splits:
        loss, share = row[split]["loss"], row[split]["accuracy"]
        cells += ["not a number" if loss is None else f"{loss:.4f}", "" if share is None else percent(share)]
    return cells
