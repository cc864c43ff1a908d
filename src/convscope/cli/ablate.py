"""``convscope ablate``: what a network answers without some of its units."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import explain_options as given
from convscope.cli import options as opt
from convscope.cli.outputs import endings_of, name_part, print_written, save_as, stems_of
from convscope.cli.running import command, say
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from PIL import Image

    from convscope.results import Prediction
    from convscope.views.unit_effects import Ablation

Units = Annotated[
    list[str] | None,
    typer.Option(
        "--unit",
        "-u",
        metavar="LAYER:UNITS",
        help="layer4.1.conv2:447, several as layer4.1.conv2:3,7,11 or :0-15 or :all, one neuron as :447@Y,X. Repeat "
        "it for units of several layers; all are replaced at once.",
    ),
]
MostImportant = Annotated[
    bool, typer.Option("--most-important", help="Instead of --unit, the unit whose loss costs the class most.")
]
Count = Annotated[
    int | None, typer.Option("--count", min=1, help="How many of the most important ones.", show_default="1")
]
Layer = Annotated[
    str | None,
    typer.Option("--layer", "-l", help="Where the most important ones are looked for; by default the last map."),
]
Target = Annotated[
    str | None,
    typer.Option("--target", "-t", help="The class that is followed, by name or number; by default the top."),
]
Mode = Annotated[
    str,
    typer.Option(
        "--mode",
        help="What units are replaced by: zero; mean, each unit's over the photos of --data; resample, what they say "
        "of another photo, one at random of --data.",
    ),
]
Data = Annotated[Path | None, typer.Option("--data", metavar="FOLDER", help="Photos for --mode mean and resample.")]
Most = Annotated[
    int | None, typer.Option("--most", min=1, help="Only the first so many photos of --data.", show_default="all")
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, max=2**63 - 1, rich_help_panel="Run", help="Of --mode resample.", show_default="0"),
]


@command("ablate")
def ablate(
    path: given.Photos = None,
    demo: given.Demo = False,
    unit: Units = None,
    most_important: MostImportant = False,
    count: Count = None,
    layer: Layer = None,
    target: Target = None,
    mode: Mode = "zero",
    data: Data = None,
    most: Most = None,
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
    batch: opt.Batch = 32,
    seed: Seed = None,
    as_json: opt.Json = False,
) -> int:
    """Switch units off and draw the answer before and after, with the unit's feature map: one sheet a picture.

    [cyan]convscope ablate cat.jpg --most-important[/]

    [cyan]convscope ablate cat.jpg --unit features.18:3,7 --unit features.8:0-15[/]

    [cyan]convscope ablate cat.jpg --most-important --mode mean --data photos/[/]
    """
    from convscope.cli.progress import Parts, bar
    from convscope.cli.sources import photos_at
    from convscope.views.reference_photos import ReferencePhotos
    from convscope.views.unit_effects import ablate as make
    from convscope.views.unit_effects import check_request
    from convscope.writing import writable_folder

    endings, parts = endings_of(save), Parts()
    writable_folder(out)
    asked: dict[str, Any] = {"most_important": most_important, "count": count, "layer": layer, "mode": mode}
    check_request(unit, data=data, most=most, **asked)
    if seed is not None and mode != "resample":
        raise ConvscopeError(f"--seed changes nothing for --mode {mode}; it is for resample")
    photos = photos_at(path, demo=demo, besides=out)
    net = opt.network(model, weights, classes, size, mean, std, trust_pickle, device)
    reference = None  # one for all photos, so that a mean is taken once
    if data is not None:
        reference = ReferencePhotos(net, data, most=most, batch=batch, on_step=parts)

    def one(name: str, photo: "Image.Image") -> "Ablation":
        step(name)
        return make(net, photo, unit, target=target, data=reference, seed=seed or 0, **asked)

    stems, kind = stems_of(list(photos.names)), _kind(unit, count, layer, target, mode, data, most, seed)
    with bar(len(photos.names), "ablate", parts) as step:
        done = [_write(name, made, out / f"{stems[name]}.{kind}", endings) for name, made in photos.each(one)]
    photos.refuse_if_none()
    print_written(done, as_json=as_json)
    return photos.finish()


def _kind(
    units: list[str] | None, count: int | None, layer: str | None, target: str | None, mode: str, data: Path | None,
    most: int | None, seed: int | None,
) -> str:  # fmt: skip
    """What was asked for, for the files' names."""
    asked = list(units or ["most-important", "" if count is None else str(count), layer or ""])
    by = [] if data is None else [mode, data.resolve().name, *(str(n) for n in (most, seed) if n is not None)]
    return ".".join(["ablate", name_part([part for part in (*asked, target or "", *by) if part])])


def _write(name: str, made: "Ablation", stem: Path, endings: list[str]) -> dict[str, Any]:
    say(f"{name}: {made!r}")
    for note in made.notes:
        say(f"{name}: note: {note}")
    before, after = (float(seen.logits[made.target_index]) for seen in (made.before, made.after))
    return {
        "image": name,
        "files": save_as(made, stem, endings),
        "units": [str(unit) for unit in made.units],
        "importance": list(made.importance),
        "replaced_by": made.replaced_by,
        "target": made.target,
        "logit": {"before": before, "after": after, "drop": made.drop},
        "probability": dict(zip(("before", "after"), made.probabilities, strict=True)),
        "before": _top(made.before),
        "after": _top(made.after),
        "notes": list(made.notes),
    }


def _top(seen: "Prediction") -> list[dict[str, Any]]:
    logits = seen.logits[list(seen.indices)].tolist()
    return [{"class": n, "probability": p, "logit": v} for (n, p), v in zip(seen, logits, strict=True)]
