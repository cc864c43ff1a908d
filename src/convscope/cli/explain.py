"""``convscope explain``: why the network answers as it does, as sheets of pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import options as opt
from convscope.cli.explain_plan import Plan, plan_of
from convscope.cli.running import command, say
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.cli.sources import Photos
    from convscope.comparisons import Comparison
    from convscope.network.loading import Network

_SHEETS = "Other sheets"


@command("explain")
def explain(
    path: Annotated[Path | None, typer.Argument(metavar="IMAGE|FOLDER", help="A picture, or a folder of them.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="scikit-image's cat, coffee and rocket.")] = False,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="One or more, with commas; 'all' takes what applies and names what does not.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="A class, layer:unit or layer:unit@y,x; the top class by default. Several are set against each other."),
    ] = None,
    layer: Annotated[list[str] | None, typer.Option("--layer", "-l", help="For methods that work at one; several give a sheet over layers.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the sheets.")] = Path("convscope-out"),
    save: Annotated[str, typer.Option("--save", help="What to write of each sheet: png, jpg, webp, html, npz (raw values), with commas.")] = "png",
    top_classes: Annotated[int | None, typer.Option("--top-classes", min=1, rich_help_panel=_SHEETS, help="The k most probable classes side by side.")] = None,
    square: Annotated[
        list[str] | None,
        typer.Option("--square", rich_help_panel=_SHEETS, help="Occlusion by SIZE,STRIDE in pixels; repeat it for several: the class's probability."),
    ] = None,
    matrix: Annotated[bool, typer.Option("--matrix", rich_help_panel=_SHEETS, help="One sheet for all photos: photos x methods, or x layers.")] = False,
    shared_scale: Annotated[
        bool | None, typer.Option("--shared-scale/--own-scale", rich_help_panel=_SHEETS, help="One scale for the maps of a sheet, or each its own.")
    ] = None,
    score: Annotated[str, typer.Option("--score", help="Explain the logit, or the probability.")] = "logit",
    fill: Annotated[str | None, typer.Option("--fill", help="What occlusion puts: mean, blur, noise, black, white, grey or #rrggbb.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Guide what rectifiers there are and leave other activations plain.")] = False,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", rich_help_panel="Model", show_default="bundled:tiny50",
                     help="torchvision:NAME, package.module:factory, path/file.py:factory or bundled:tiny50; several are set side by side."),
    ] = None,
    weights: Annotated[list[str] | None, typer.Option("--weights", rich_help_panel="Model", help="A .safetensors or .pt file, or 'random'; one a model.")] = None,
    classes: opt.Classes = None,
    size: opt.Size = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    batch: opt.Batch = 32,
    seed: opt.Seed = None,
    as_json: opt.Json = False,
) -> int:  # fmt: skip
    """Draw which part of a picture explains the answer: one sheet a picture.

    By default all methods for the top class. Several targets, layers, models or squares make the sheet that sets
    them side by side.
    """
    from convscope.cli.sources import photos_at
    from convscope.writing import writable_folder

    endings = _endings(save)
    writable_folder(out)
    photos = photos_at(path, demo=demo)
    nets = _networks(model, weights, classes, size, mean, std, trust_pickle, device)
    plan = plan_of(
        nets, methods=opt.listed(method), targets=list(target or []), layers=opt.listed(layer), squares=list(square or []),
        top_classes=top_classes, matrix=matrix, shared=shared_scale,
        options={"score": score, "fill": fill, "partial": partial, "batch": batch, "seed": seed},
    )  # fmt: skip
    done = _run(photos, plan, out, endings)
    code = photos.finish()
    if as_json:
        print(json.dumps(done, indent=1, ensure_ascii=False))
    else:
        for entry in done:
            for file in entry["files"]:
                print(file)
    return code


def _run(photos: "Photos", plan: Plan, out: Path, endings: list[str]) -> list[dict[str, Any]]:
    """Make and write the sheets, one photo after the other; what is written stays if the rest is interrupted."""
    from convscope.cli.progress import bar

    stems = _stems(list(photos.names))
    with bar(len(photos.names) * plan.steps, "explain") as step:
        if plan.whole_folder is not None:
            read = {n: p for n in photos.names if (p := photos.read(n)) is not None}
            return (
                [_write(plan.whole_folder(read, step), out / f"all.{plan.name}", endings, sorted(read))] if read else []
            )
        done: list[dict[str, Any]] = []
        for name in photos.names:
            photo = photos.read(name)
            if photo is not None:
                sheet = plan.sheet(photo, _prefixed(step, name))
                done.append(_write(sheet, out / f"{stems[name]}.{plan.name}", endings, [name]))
        return done


def _write(sheet: "Comparison", stem: Path, endings: list[str], names: list[str]) -> dict[str, Any]:
    for what, why in sheet.left_out.items():
        say(f"{', '.join(names)}: {what} left out: {why}")
    for name, one in sheet.explanations.items():
        if one.zero_because:
            say(f"{', '.join(names)}: {name} is {one.zero_because}")
    files = [str(sheet.save(stem.with_name(f"{stem.name}.{ending}"))) for ending in endings]
    seen = next((e.prediction for e in sheet.explanations.values() if e.prediction is not None), None)
    top = [{"class": n, "probability": p} for n, p in seen] if seen is not None and len(names) == 1 else []
    maps = {
        key: {"method": e.method, "target": e.target, "layer": e.layer, "shape": list(e.values.shape)}
        for key, e in sheet.explanations.items()
    }
    image = names[0] if len(names) == 1 else names
    return {"image": image, "files": files, "top": top, "maps": maps, "left_out": dict(sheet.left_out)}


def _prefixed(step: Callable[[str], None], name: str) -> Callable[[str], None]:
    return lambda now: step(f"{name}: {now}")


def _stems(names: list[str]) -> dict[str, str]:
    """Name -> path without its ending, kept where two pictures differ in nothing else."""
    bare = {name: str(Path(name).with_suffix("")) for name in names}
    counts = list(bare.values())
    return {name: stem if counts.count(stem) == 1 else name for name, stem in bare.items()}


def _endings(save: str) -> list[str]:
    from convscope.results import PICTURES

    possible = [e.removeprefix(".") for e in PICTURES] + ["html", "npz"]
    endings = opt.listed([save])
    for ending in endings:
        if ending not in possible:
            raise ConvscopeError(f"--save {ending!r} is none of {', '.join(possible)}")
    if not endings:
        raise ConvscopeError(f"--save says nothing to write; give some of {', '.join(possible)}")
    return endings


def _networks(
    model: list[str] | None, weights: list[str] | None, classes: Path | None, size: int | None, mean: str | None,
    std: str | None, trust_pickle: bool, device: str | None,
) -> "list[Network]":  # fmt: skip
    models: list[str | None] = list(model or [None])
    files: list[str | None] = list(weights or [])
    if len(files) > len(models):
        raise ConvscopeError(
            f"{len(files)} --weights for {len(models)} --model: give at most one a model, in their order"
        )
    files += [None] * (len(models) - len(files))
    pairs = zip(models, files, strict=True)
    return [opt.network(m, w, classes, size, mean, std, trust_pickle, device) for m, w in pairs]
