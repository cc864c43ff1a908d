"""``convscope explain``: why the network answers as it does, as sheets of pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli import explain_options as given
from convscope.cli import options as opt
from convscope.cli.explain_plan import Plan, plan_of
from convscope.cli.method_options import options_of
from convscope.cli.outputs import endings_of, print_written, save_as, sheets_folder, stems_of
from convscope.cli.running import command, say
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.cli.progress import Parts
    from convscope.cli.sources import Photos
    from convscope.network.loading import Network
    from convscope.results import Comparison


@command("explain")
def explain(
    path: given.Photos = None,
    demo: given.Demo = False,
    method: given.Methods = None,
    target: given.Targets = None,
    layer: given.Layers = None,
    out: given.Out = Path("convscope-out"),
    save: given.Save = "png",
    top_classes: given.TopClasses = None,
    square: given.Squares = None,
    matrix: given.Matrix = False,
    prototypes: given.Prototypes = None,
    data: given.PrototypesData = None,
    shared_scale: given.SharedScale = None,
    option: given.MethodOptions = None,
    score: given.Score = None,
    fill: given.Fill = None,
    partial: given.Partial = False,
    model: given.Models = None,
    weights: given.Weights = None,
    classes: opt.Classes = None,
    size: opt.Size = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    batch: opt.Batch = 32,
    seed: opt.Seed = None,
    as_json: opt.Json = False,
) -> int:
    """Draw which part of a picture explains the answer: one sheet a picture.

    By default by every method of up to a hundred passes, for the top class; several targets, layers, models or
    squares are set side by side.

    [cyan]convscope explain cat.jpg[/]                                a sheet of methods

    [cyan]convscope explain cat.jpg --method cam -t tabby -t lion[/]  two classes on one scale

    [cyan]convscope explain photos/ --matrix --method cam,occlusion[/]

    [cyan]convscope explain --prototypes photos.atlas -t lion -t tabby[/]
    """
    from convscope.cli.explain_prototypes import prototype_photos
    from convscope.cli.progress import Parts
    from convscope.cli.sources import photos_at

    parts = Parts()
    endings = endings_of(save)
    sheets_folder(out)
    asked: dict[str, Any] = {
        "methods": opt.listed(method, "--method"),
        "layers": opt.listed(layer, "--layer"),
        "shared": shared_scale,
    }
    options = options_of(option, score=score, fill=fill, partial=partial, batch=batch, seed=seed, on_step=parts)
    targets = list(dict.fromkeys(target or []))
    if prototypes is not None:
        others = {"a picture": path, "--demo": demo, "--square": square, "--matrix": matrix, "--classes": classes}
        others |= {"--top-classes": top_classes, "--size": size, "--mean": mean, "--std": std}
        found = prototype_photos(
            prototypes, data, targets, others, model=list(model or []), weights=list(weights or []),
            trust_pickle=trust_pickle, device=device,
        )  # fmt: skip
        photos, plan = found.photos, found.plan(options=options, **asked)
    else:
        if data is not None:
            raise ConvscopeError("--data says where the photos of --prototypes are; give that too, or leave it out")
        photos = photos_at(path, demo=demo, besides=out)
        nets = _networks(model, weights, classes, size, mean, std, trust_pickle, device)
        squares = list(square or [])
        plan = plan_of(
            nets, targets=targets, squares=squares, top_classes=top_classes, matrix=matrix, options=options, **asked
        )
    done = _run(photos, plan, out, endings, parts)
    photos.refuse_if_none()
    if plan.note:
        say(plan.note)
    print_written(done, as_json=as_json)
    return photos.finish()


def _run(photos: "Photos", plan: Plan, out: Path, endings: list[str], parts: "Parts") -> list[dict[str, Any]]:
    """Make and write the sheets, one photo after the other; what is written stays if the rest is interrupted."""
    from convscope.cli.progress import bar, prefixed

    stems = stems_of(list(photos.names))
    with bar(len(photos.names) * plan.steps, "explain", parts) as step:
        if plan.whole_folder is not None:
            read = {n: p for n in photos.names if (p := photos.read(n)) is not None}
            photos.refuse_if_none()
            return [_write(plan.whole_folder(read, step), out / f"{plan.stem}.{plan.name}", endings, list(read))]
        made = photos.each(lambda name, photo: plan.sheet(photo, prefixed(step, name)))
        return [_write(sheet, out / f"{stems[name]}.{plan.name}", endings, [name]) for name, sheet in made]


def _write(sheet: "Comparison", stem: Path, endings: list[str], names: list[str]) -> dict[str, Any]:
    about = names[0] if len(names) == 1 else f"{len(names)} photos"
    for what, why in sheet.left_out.items():
        say(f"{about}: {what} left out: {why}")
    for name, one in sheet.explanations.items():
        if one.zero_because:
            say(f"{about}: {name} is {one.zero_because}")
    files = save_as(sheet, stem, endings)
    seen = next((e.prediction for e in sheet.explanations.values() if e.prediction is not None), None)
    top = [{"class": n, "probability": p} for n, p in seen] if seen is not None and len(names) == 1 else []
    maps = {
        key: {"method": e.method, "target": e.target, "layer": e.layer, "shape": list(e.values.shape)}
        for key, e in sheet.explanations.items()
    }
    image = names[0] if len(names) == 1 else names
    return {"image": image, "files": files, "top": top, "maps": maps, "left_out": dict(sheet.left_out)}


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
