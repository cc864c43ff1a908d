"""``convscope ablate``: what a network answers without some of its units, of a picture or over a data set."""

from pathlib import Path
from typing import Any

from convscope.cli import ablate_options as asked
from convscope.cli import explain_options as given
from convscope.cli import options as opt
from convscope.cli.outputs import endings_of, sheets_folder
from convscope.cli.running import command
from convscope.errors import ConvscopeError

_EACH_ONLY = {
    "--target": "all classes are followed",
    "--data": "the mean is taken over the data set itself",
    "--most": "all of its images are used",
    "--seed": "nothing is drawn at random",
    "--count": "all units asked for are ranked",
}


@command("ablate")
def ablate(
    path: asked.Images = None,
    demo: given.Demo = False,
    unit: asked.Units = None,
    layer: asked.Layer = None,
    mode: asked.Mode = "zero",
    together: asked.Together = False,
    labels: asked.Labels = None,
    top: asked.Top = None,
    into: asked.Into = None,
    each: asked.Each = False,
    most_important: asked.MostImportant = False,
    count: asked.Count = None,
    target: asked.Target = None,
    data: asked.Data = None,
    most: asked.Most = None,
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
    batch: asked.Batch = None,
    threads: asked.Threads = None,
    seed: asked.Seed = None,
    resume: opt.Resume = False,
    as_json: opt.Json = False,
) -> int:
    """Switch units off: over a data set the accuracy that each costs, of a picture the answer before and after.

    [cyan]convscope ablate photos/ --layer features.18[/]

    [cyan]convscope ablate val.zip --unit features.18:3,7 --mode mean[/]

    [cyan]convscope ablate cat.jpg --most-important[/]

    [cyan]convscope ablate cat.jpg --unit features.18:3,7 --unit features.8:0-15[/]
    """
    endings = endings_of(save)
    sheets_folder(out)
    load: Any = lambda: opt.network(model, weights, classes, size, mean, std, trust_pickle, device)  # noqa: E731
    over_data = {
        "--together": together, "--labels": labels, "--top": top, "--into": into, "--threads": threads,
        "--resume": resume,
    }  # fmt: skip
    by_picture = {"--count": count, "--target": target, "--data": data, "--most": most, "--seed": seed}
    if path is not None and not (demo or each or most_important) and _is_data(path):
        if option := _first_given(by_picture):
            why = _EACH_ONLY[option]
            raise ConvscopeError(f"{option} changes nothing over a data set: {why}; --each makes one sheet a picture")
        from convscope.cli.ablate_data import ablate_over

        request: dict[str, Any] = {"units": unit, "layer": opt.listed([layer] if layer else []), "mode": mode}
        request |= {"together": together, "labels": labels or "auto", "rows": batch}
        return ablate_over(
            path, load, request, top=top, into=into, threads=threads, resume=resume, out=out, endings=endings,
            as_json=as_json,
        )  # fmt: skip
    if path is not None and not demo:
        _refuse_missing(path)
    if option := _first_given(over_data):
        raise ConvscopeError(f"{option} is for units over a data set (a folder without --each), not for a picture")
    return _photo_by_photo(
        path, demo, load,
        {"units": unit, "most_important": most_important, "count": count, "layer": layer, "mode": mode,
         "target": target, "seed": seed},
        data=data, most=most, batch=batch, out=out, endings=endings, as_json=as_json,
    )  # fmt: skip


def _photo_by_photo(path: Path | None, demo: bool, load: Any, request: dict[str, Any], **how: Any) -> int:
    from convscope.cli.ablate_photos import ablate_photos
    from convscope.cli.sources import photos_at
    from convscope.views.unit_effects import check_request

    what = {name: request[name] for name in ("most_important", "count", "layer", "mode")}
    check_request(request["units"], data=how["data"], most=how["most"], **what)
    if request["seed"] is not None and request["mode"] != "resample":
        raise ConvscopeError(f"--seed changes nothing for --mode {request['mode']}; it is for resample")
    photos = photos_at(path, demo=demo, besides=how["out"])
    return ablate_photos(load(), photos, request, **how)


def _refuse_missing(path: Path) -> None:
    from convscope.network.digit_pictures import is_in_the_box
    from convscope.network.pictures import missing

    if not path.exists() and not is_in_the_box(path):
        raise ConvscopeError(missing(path, "picture, folder or archive"))


def _is_data(path: Path) -> bool:
    """True for what holds many images: a folder, an archive, a data set's name."""
    from convscope.dataset.image_sources import ARCHIVES
    from convscope.network.digit_pictures import is_digit_picture, is_in_the_box

    if is_in_the_box(path):
        return not is_digit_picture(path.as_posix())
    return path.is_dir() or str(path).startswith("hf:") or path.name.lower().endswith(ARCHIVES)


def _first_given(options: dict[str, Any]) -> str | None:
    return next((option for option, value in options.items() if value is not None and value is not False), None)
