"""``convscope predict``: what a network answers, and how often it is right."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import options as opt
from convscope.cli.running import command
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.cli.sources import Photos
    from convscope.labels import Label
    from convscope.network.loading import Network
    from convscope.results import Prediction


@command("predict")
def predict(
    path: Annotated[Path | None, typer.Argument(metavar="IMAGE|FOLDER", help="A picture, or a folder of them.")] = None,
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
    from convscope.writing import write_file, writable_folder

    if csv_file is not None:
        writable_folder(csv_file.parent)
    photos = photos_at(path, demo=demo)
    net = opt.network(model, weights, classes, size, mean, std, trust_pickle, device)
    right = _labels(photos, net, labels, expected)
    found = _answers(photos, net, top, batch)
    code = photos.finish()
    rows = [_row(name, seen, right.get(name)) for name, seen in found.items()]
    if csv_file is not None:
        write_file(csv_file, _as_csv(rows, top).encode())
    if as_json:
        print(json.dumps([_as_json(row) for row in rows], indent=1, ensure_ascii=False))
    elif len(found) == 1 or not photos.is_folder:
        _print_bars(found, right)
    else:
        _print_table(rows)
    return code


def _labels(photos: "Photos", net: "Network", labels: str, expected: Path | None) -> "dict[str, Label]":
    from convscope.labels import labels_of, read_expected

    if labels not in ("auto", "folders", "names", "none"):
        raise ConvscopeError(f"--labels {labels!r} is none of auto, folders, names, none")
    files = [photos.folder / name for name in photos.names]
    if expected is not None:
        found = read_expected(expected, files, photos.folder, net.classes)
    elif not photos.is_folder:
        return {}
    else:
        found, _ = labels_of(files, photos.folder, net.classes, labels)  # type: ignore[arg-type]
    return {file.relative_to(photos.folder).as_posix(): label for file, label in found.items()}


def _answers(photos: "Photos", net: "Network", top: int, batch: int) -> "dict[str, Prediction]":
    """Name -> prediction, ``batch`` photos of one size at a time."""
    from convscope.api import predict_many
    from convscope.cli.progress import bar

    with bar(len(photos.names), "predict") as step:

        def readable():
            for name in photos.names:
                step(name)
                photo = photos.read(name)
                if photo is not None:
                    yield name, photo

        return dict(predict_many(net, readable(), k=top, batch=batch))


def _row(name: str, seen: "Prediction", label: "Label | None") -> dict[str, Any]:
    """One photo's line of the table."""
    numbers = [float(seen.logits[i]) for i in seen.indices]
    row: dict[str, Any] = {"image": name, "top": list(seen), "logits": numbers}
    if label is not None:
        row |= {"expected": label.text, "ok": seen.indices[0] in label.classes}
        row["top5"] = bool(label.classes & set(seen.logits.argsort(descending=True)[:5].tolist()))
    return row


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    top = zip(row["top"], row["logits"], strict=True)
    entry = {"image": row["image"], "top": [{"class": n, "probability": p, "logit": v} for (n, p), v in top]}
    return entry | ({"expected": row["expected"], "ok": row["ok"]} if "expected" in row else {})


def _as_csv(rows: list[dict[str, Any]], top: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    labelled = any("expected" in row for row in rows)
    most = min(top, max((len(row["top"]) for row in rows), default=0))
    head = [f"{what}_{i + 1}" for i in range(most) for what in ("class", "probability", "logit")]
    writer.writerow(["image", *(["expected", "ok"] if labelled else []), *head])
    for row in rows:
        answer = [row.get("expected", ""), row.get("ok", "")] if labelled else []
        cells = [c for (n, p), v in zip(row["top"], row["logits"], strict=True) for c in (n, f"{p:.6f}", f"{v:.4f}")]
        writer.writerow([row["image"], *answer, *cells])
    return text.getvalue()


def _print_bars(found: "dict[str, Prediction]", right: "dict[str, Label]") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for name, seen in found.items():
        console.print(
            Text(name, "bold") if name not in right else Text(f"{name} (expected: {right[name].text})", "bold")
        )
        widest = max(len(n) for n, _ in seen)
        for (label, probability), index in zip(seen, seen.indices, strict=True):
            filled = round(24 * probability)
            line = Text(f"  {label:<{widest}}  ")
            line.append("█" * filled, "cyan")
            line.append("░" * (24 - filled), "bright_black")
            line.append(f"  {probability:6.1%}  logit {float(seen.logits[index]):7.2f}")
            console.print(line, soft_wrap=True)


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:  # a pipe has no width: nothing is cut
        console = Console(width=240)
    labelled = any("expected" in row for row in rows)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("image", *(["expected"] if labelled else []), "predicted"):
        table.add_column(heading, overflow="fold")
    table.add_column("probability", justify="right")
    if labelled:
        table.add_column("OK")
    for row in rows:
        (name, probability), ok = row["top"][0], row.get("ok")
        mark = [Text("yes" if ok else "no", "green" if ok else "red")] if labelled else []
        table.add_row(
            Text(row["image"]), *([row.get("expected", "")] if labelled else []), name, f"{probability:.1%}", *mark
        )
    console.print(table)
    if labelled:
        count, right, top5 = len(rows), sum(r["ok"] for r in rows), sum(r["top5"] for r in rows)
        console.print(f"\n{right} of {count} right: top-1 {right / count:.1%}, top-5 {top5 / count:.1%}")
