"""``convscope predict``: what a network answers, and how often it is right."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import options as opt
from convscope.cli.running import command, say
from convscope.errors import ConvscopeError
from convscope.wording import percent

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from convscope.cli.sources import Photos
    from convscope.labels import Label, Source
    from convscope.network.loading import Network

Row = dict[str, Any]


@command("predict")
def predict(
    path: Annotated[
        Path | None, typer.Argument(metavar="IMAGE|FOLDER", help="A picture, a folder of them, or bundled:digits:7.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="scikit-image's cat, coffee and rocket.")] = False,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Classes listed for each picture.")] = 5,
    labels: Annotated[
        str, typer.Option("--labels", help="Where the right answers are: folders, names (of files), none, or auto.")
    ] = "auto",
    expected: Annotated[
        Path | None,
        typer.Option("--expected", help="CSV with columns image,expected; several right names: cow|ox."),
    ] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the table to this file.")] = None,
    as_json: opt.Json = False,
    model: opt.Model = None,
    weights: opt.Weights = None,
    classes: opt.Classes = None,
    size: opt.Size = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    batch: opt.Batch = 32,
) -> int:
    """Print the most probable classes; over labelled pictures also expected, predicted, OK, and the accuracy."""
    from convscope.cli.sources import photos_at
    from convscope.writing import writable_file, write_file

    if csv_file is not None:
        writable_file(csv_file)
    photos = photos_at(path, demo=demo)
    net = opt.network(model, weights, classes, size, mean, std, trust_pickle, device)
    right = _labels(photos, net, labels, expected)
    rows = _rows(photos, net, right, top, batch)
    photos.refuse_if_none()
    if csv_file is not None:
        write_file(csv_file, _as_csv(rows).encode())
    if as_json:
        print(json.dumps([_as_json(row) for row in rows], indent=1, ensure_ascii=False))
    elif photos.is_folder:
        _print_table(rows)
    else:
        _print_bars(rows)
    return photos.finish()


def _labels(photos: "Photos", net: "Network", labels: str, expected: Path | None) -> "dict[str, Label]":
    from convscope.labels import SOURCES, labels_of, read_expected

    if labels not in SOURCES:
        raise ConvscopeError(f"--labels {labels!r} is none of {', '.join(SOURCES)}")
    source: Source = labels
    if expected is None and (source == "none" or (source == "auto" and not photos.is_folder)):
        return {}
    names = {photos.folder / name: name for name in photos.names}

    def is_picture(file: Path) -> bool:
        return photos.read(names[file]) is not None

    if expected is not None:
        found = read_expected(expected, list(names), photos.folder, net.classes, is_picture=is_picture)
    else:
        found, remark = labels_of(list(names), photos.folder, net.classes, source, is_picture=is_picture)
        if remark:
            say(f"note: {remark}")
    return {names[file]: label for file, label in found.items()}


def _rows(photos: "Photos", net: "Network", right: "dict[str, Label]", top: int, batch: int) -> list[Row]:
    """One line a photo; numbers only, so that a large folder is never in memory."""
    from convscope.answers import logits_of_many
    from convscope.cli.progress import bar

    with bar(len(photos.names), "predict") as step:

        def readable() -> "Iterator[tuple[str, Image.Image]]":
            for name in photos.names:
                step(name)
                photo = photos.read(name)
                if photo is not None:
                    yield name, photo

        answers = logits_of_many(net, readable(), batch=batch, refused=photos.skip)
        return [_row(name, net, logits, top, right.get(name)) for name, logits in answers]


def _row(name: str, net: "Network", logits: "Tensor", top: int, label: "Label | None") -> Row:
    from convscope.answers import ranked

    classes, indices = ranked(net, logits, top)
    row: Row = {"image": name, "top": classes, "logits": logits[list(indices)].tolist()}
    if label is not None:
        best = ranked(net, logits, 5)[1]
        row |= {"expected": label.text, "ok": best[0] in label.classes, "top5": bool(label.classes & set(best))}
    return row


def _as_json(row: Row) -> dict[str, Any]:
    entry = {"image": row["image"], "top": [{"class": n, "probability": p} for n, p in row["top"]]}
    return entry | ({"expected": row["expected"], "ok": row["ok"]} if "expected" in row else {})


def _as_csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    labelled = any("expected" in row for row in rows)
    head = [f"{what}_{i + 1}" for i in range(len(rows[0]["top"])) for what in ("class", "probability", "logit")]
    writer.writerow(["image", *(["expected", "ok"] if labelled else []), *head])
    for row in rows:
        answer = [row["expected"], row["ok"]] if labelled else []
        cells = [c for (n, p), v in zip(row["top"], row["logits"], strict=True) for c in (n, f"{p:.6f}", f"{v:.4f}")]
        writer.writerow([row["image"], *answer, *cells])
    return text.getvalue()


def _print_bars(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for row in rows:
        about = f" (expected: {row['expected']})" if "expected" in row else ""
        console.print(Text(f"{row['image']}{about}", "bold"), soft_wrap=True)
        widest = max(len(name) for name, _ in row["top"])
        for (name, probability), logit in zip(row["top"], row["logits"], strict=True):
            filled = round(24 * probability)
            line = Text(f"  {name:<{widest}}  ")
            line.append("█" * filled, "cyan")
            line.append("░" * (24 - filled), "bright_black")
            line.append(f"  {probability:6.1%}  logit {logit:7.2f}")
            console.print(line, soft_wrap=True)


def _print_table(rows: list[Row]) -> None:
    from rich.text import Text

    from convscope.cli.tables import new_table, print_table

    labelled = any("expected" in row for row in rows)
    table = new_table()
    for heading in ("image", *(["expected"] if labelled else []), "predicted"):
        table.add_column(heading)
    table.add_column("probability", justify="right")
    if labelled:
        table.add_column("OK")
    for row in rows:
        name, probability = row["top"][0]
        words = [row["image"], *([row["expected"]] if labelled else []), name, percent(probability)]
        mark = [Text("yes", "green") if row["ok"] else Text("no", "red")] if labelled else []
        table.add_row(*(Text(word) for word in words), *mark)
    count, right, top5 = len(rows), sum(r.get("ok", False) for r in rows), sum(r.get("top5", False) for r in rows)
    accuracy = f"{right} of {count} right: top-1 {right / count:.1%}, top-5 {top5 / count:.1%}"
    print_table(table, below=["", accuracy] if labelled else [])
