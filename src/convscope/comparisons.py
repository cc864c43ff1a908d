"""Several explanations on one sheet: methods, classes, layers, models, sizes of the occluding square, many photos.

What is compared is drawn on one scale where that is asked for, or where the comparison makes no sense without it
(two classes, two models). What does not apply to a network stays on the sheet as an empty place with the reason.

A sheet of one method hands on all that it was given, and what the method does not take is refused. On a sheet of several
methods each takes what it knows; the deconvnet shows the strongest unit there unless the target is a unit, since from a
class it is exactly zero on many networks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from convscope.api import Photo, explain, predict
from convscope.attribution.registry import METHODS, find_method
from convscope.drawing import scale_for
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.pictures import read_image
from convscope.network.targets import Target, class_targets, parse_unit, resolve_names
from convscope.render.colour_bar import ColourBar
from convscope.render.overlay import OPACITY
from convscope.render.scale import Scale
from convscope.render.tile import Tile
from convscope.results import Comparison, Explanation, Prediction, fitted
from convscope.stamps import combined

Step = Callable[[str], None]
Options = Mapping[str, Any]
_NONE: Options = {}


def compare_methods(
    net: Network,
    photo: Photo,
    methods: Sequence[str] | None = None,
    *,
    target: Target = None,
    layer: str | None = None,
    shared: bool = False,
    options: Options = _NONE,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo by several methods; ``methods=None`` is all of them, with the reason where one does not apply.

    ``options`` are given to the methods that know them. ``shared``: methods that look alike (gradients round grey, heat)
    and measure in the same unit are rarely compared by value, but may be.
    """
    image = read_image(photo)
    seen = predict(net, image)
    _check_class(net, seen, target)
    names = [find_method(name).name for name in (METHODS if methods is None else methods)]
    found: dict[str, Explanation] = {}
    left_out: dict[str, str] = {}
    for name in names:
        step(name)
        try:
            given = _options_of(name, target, layer, options, mixed=len(names) > 1)
            found[name] = explain(net, image, name, **given)
        except ConvscopeError as error:
            if methods is not None:
                raise
            left_out[name] = str(error)
    _refuse_nothing(net, found, left_out)
    scales = _scales_by_look(found) if shared else {}
    tiles = [photo_tile(seen), Tile(seen.bars(), "answer", net.name)]
    for name in names:
        tile = found[name].tile(scales.get(METHODS[name].look)) if name in found else None
        tiles.append(tile or Tile(None, name, "does not apply", warning=left_out[name]))
    return Comparison(_why(found), answer_line(seen), (tuple(tiles),), found, left_out, _stamp(found))


def compare_targets(
    net: Network,
    photo: Photo,
    targets: Sequence[Target] | None = None,
    *,
    most: int = 5,
    method: str = "grad-cam",
    layer: str | None = None,
    shared: bool = True,
    options: Options = _NONE,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo, several classes or units: by default the ``most`` probable classes, on one scale."""
    image = read_image(photo)
    seen = predict(net, image, k=most if targets is None else 5)
    wanted = list(seen.indices) if targets is None else [resolve_names(target, net.classes) for target in targets]
    found: list[Explanation] = []
    for one in wanted:
        step(f"{method} of {net.class_name(one) if isinstance(one, int) and 0 <= one < len(seen.logits) else one}")
        found.append(explain(net, image, method, **_options_of(method, one, layer, options)))
    probabilities = seen.logits.softmax(0)
    notes = [f"{float(probabilities[one]):.1%}" if isinstance(one, int) else "" for one in wanted]
    heading = " against ".join(e.target for e in found) if len(found) == 2 else f"{method} of {len(found)} classes"
    return _in_a_row(heading, seen, found, [e.target for e in found], notes, shared=shared)


def compare_layers(
    net: Network,
    photo: Photo,
    layers: Sequence[str],
    *,
    method: str = "grad-cam",
    target: Target = None,
    shared: bool = False,
    options: Options = _NONE,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo and class at several layers. Each map has its own scale: gradients shrink and grow with depth."""
    image = read_image(photo)
    seen = predict(net, image)
    found: list[Explanation] = []
    for name in layers:
        step(f"{method} at {name}")
        found.append(explain(net, image, method, **_options_of(method, target, name, options)))
    notes = [" x ".join(map(str, e.values.shape)) for e in found]
    notes = [
        note if e.target == found[0].target else f"{e.target} · {note}" for e, note in zip(found, notes, strict=True)
    ]
    same = len({e.target for e in found}) == 1
    title = f"{method} {f'of {found[0].target} ' if same else ''}at {len(layers)} layers"
    return _in_a_row(title, seen, found, list(layers), notes, shared=shared)


def compare_models(
    nets: Sequence[Network],
    photo: Photo,
    *,
    method: str = "grad-cam",
    target: Target = None,
    layer: str | None = None,
    shared: bool = True,
    options: Options = _NONE,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo and class by several models, on one scale unless ``shared=False``."""
    image = read_image(photo)
    names = _distinct([net.name for net in nets])
    found: dict[str, Explanation] = {}
    answers: list[Prediction] = []
    for name, net in zip(names, nets, strict=True):
        step(f"{method} by {name}")
        answers.append(predict(net, image))
        found[name] = explain(net, image, method, **_options_of(method, target, layer, options))
    scale = scale_for(find_method(method).name, [e.values for e in found.values()]) if shared else None
    tiles: list[Tile] = []
    for (name, explanation), seen in zip(found.items(), answers, strict=True):
        tiles += [photo_tile(seen, caption=name), explanation.tile(scale)]
    targets = list(dict.fromkeys(e.target for e in found.values()))
    title = f"{method} of {' and '.join(targets)} by {len(nets)} models"
    return Comparison(title, "one scale for all" if shared else "", (tuple(tiles),), found, {}, _stamp(found))


def compare_squares(
    net: Network,
    photo: Photo,
    squares: Sequence[tuple[int, int]],
    *,
    target: Target = None,
    shared: bool = True,
    options: Options = _NONE,
    step: Step = lambda _: None,
) -> Comparison:
    """Occlusion at several (size, stride) pairs, as maps of the class's probability with the square there.

    ``options={"score": "logit"}`` takes its logit; of a unit it is always the activation.
    """
    image = read_image(photo)
    seen = predict(net, image)
    is_unit = isinstance(resolve_names(target, net.classes), str)
    given = {"reading": "score", "score": "logit" if is_unit else "probability", **options}
    found: list[Explanation] = []
    for size, stride in squares:
        step(f"square of {size} px every {stride} px")
        found.append(explain(net, image, "occlusion", target, size=size, stride=stride, **given))
    names = [f"{size} px, every {stride} px" for size, stride in squares]
    notes = [f"{e.values.shape[0]} x {e.values.shape[1]} positions" for e in found]
    what = "activation" if is_unit else str(given["score"])
    title = f"{what.capitalize()} of {found[0].target} with a square covered"
    subtitle = f"{answer_line(seen)}. Low where the answer needs what is covered."
    return _in_a_row(title, seen, found, names, notes, shared=shared, subtitle=subtitle, unit=what)


def compare_photos(
    net: Network,
    photos: Mapping[str, Photo],
    columns: Sequence[str],
    *,
    by: str = "method",
    method: str = "grad-cam",
    target: Target = None,
    layer: str | None = None,
    shared: bool = False,
    skip_refused: bool = False,
    options: Options = _NONE,
    step: Step = lambda _: None,
) -> Comparison:
    """Photos x methods (``by="method"``) or photos x layers (``by="layer"``), a row a photo.

    ``shared``: one scale a column. ``skip_refused`` leaves an empty place, with the reason, where a method does not
    apply.
    """
    if not photos:
        raise ConvscopeError("no photo to compare: give at least one")
    answers: dict[str, Prediction] = {}
    cells: dict[tuple[str, str], Explanation] = {}
    left_out: dict[str, str] = {}
    for name, photo in photos.items():
        image = read_image(photo)
        answers[name] = predict(net, image)
        _check_class(net, answers[name], target)
        for column in columns:
            step(f"{name}: {column}")
            used, where = (column, layer) if by == "method" else (method, column)
            try:
                given = _options_of(used, target, where, options, mixed=by == "method" and len(columns) > 1)
                cells[name, column] = explain(net, image, used, **given)
            except ConvscopeError as error:
                if not skip_refused:
                    raise
                left_out[column] = str(error)
    found = {f"{name}|{column}": one for (name, column), one in cells.items()}
    _refuse_nothing(net, found, left_out)
    rows = _rows(answers, columns, cells, left_out, shared=shared)
    title = f"{len(rows)} photos x {len(columns)} {by}s"
    headings = ("photo", *columns)
    return Comparison(title, net.name, rows, found, left_out, _stamp(found), tuple(photos), headings)


def _rows(
    answers: Mapping[str, Prediction],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], Explanation],
    left_out: Mapping[str, str],
    *,
    shared: bool,
) -> tuple[tuple[Tile, ...], ...]:
    scales: dict[str, Scale] = {}
    for column in columns if shared else ():
        if maps := [one for (_, c), one in cells.items() if c == column]:
            scales[column] = scale_for(maps[0].method, [one.values for one in maps])

    def tile(name: str, column: str) -> Tile:
        one = cells.get((name, column))
        if one is None:
            return Tile(None, "", "does not apply", warning=left_out[column])
        return one.tile(scales.get(column), caption="", note=one.target)

    return tuple(
        (photo_tile(seen, caption=""), *(tile(name, column) for column in columns)) for name, seen in answers.items()
    )


def photo_tile(seen: Prediction, *, caption: str = "photo") -> Tile:
    """The part of the photo that the network saw, and its answer."""
    return Tile(fitted(seen.photo), caption, f"{seen[0][0]} {seen[0][1]:.1%}")


def answer_line(seen: Prediction, most: int = 3) -> str:
    """``tabby 91.0 %, lion 3.1 %, ...``."""
    return ", ".join(f"{name} {probability:.1%}" for name, probability in seen[:most])


def _in_a_row(
    title: str,
    seen: Prediction,
    found: Sequence[Explanation],
    names: Sequence[str],
    notes: Sequence[str],
    *,
    shared: bool,
    subtitle: str = "",
    unit: str = "",
) -> Comparison:
    by_name = dict(zip(_distinct(names), found, strict=True))
    scale = scale_for(found[0].method, [e.values for e in found]) if shared else None
    tiles = [e.tile(scale, caption=name, note=note) for (name, e), note in zip(by_name.items(), notes, strict=True)]
    bar = None
    if scale is not None and METHODS[found[0].method].look == "heat":
        bar = ColourBar(scale, opacity=OPACITY, unit=unit)
        tiles = [replace(tile, bar=None) for tile in tiles]
    row = (photo_tile(seen), *tiles)
    return Comparison(title, subtitle or answer_line(seen), (row,), by_name, {}, _stamp(by_name), bar=bar)


def _scales_by_look(found: Mapping[str, Explanation]) -> dict[str, Scale]:
    """One scale for all maps that are drawn alike."""
    by_look: dict[str, list[Explanation]] = {}
    for explanation in found.values():
        by_look.setdefault(METHODS[explanation.method].look, []).append(explanation)
    return {look: scale_for(es[0].method, [e.values for e in es]) for look, es in by_look.items()}


def _options_of(
    method: str, target: Target, layer: str | None, options: Options, *, mixed: bool = False
) -> dict[str, Any]:
    """What one method takes of a sheet's options; on a sheet of several also only the target and layer that it knows."""
    about = find_method(method)
    known = {*about.defaults, *(["seed"] if "generator" in about.defaults else [])}
    chosen = {name: value for name, value in options.items() if name in known}
    if mixed and about.name == "deconvnet":
        is_unit = isinstance(target, str) and parse_unit(target) is not None
        target, layer = (target, None) if is_unit else (None, layer)
    elif mixed and not about.needs_layer:
        layer = None
    return {"target": target, "layer": layer, **chosen}


def _check_class(net: Network, seen: Prediction, target: Target) -> None:
    """Refuse a class that the network has not: else each method would be left out, for the same reason."""
    named = resolve_names(target, net.classes)
    if isinstance(named, int):
        class_targets(named, seen.logits[None])


def _refuse_nothing(net: Network, found: Mapping[str, Explanation], left_out: Mapping[str, str]) -> None:
    reasons = list(dict.fromkeys(left_out.values()))
    if not found and len(reasons) == 1:
        raise ConvscopeError(reasons[0])
    if not found:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "none was given"
        raise ConvscopeError(f"no method applies to {net.name}: {why}")


def _why(found: Mapping[str, Explanation]) -> str:
    explained = next((e.target for e in found.values() if e.method != "deconvnet"), None)
    return f"Why {explained}?" if explained else f"What drove {next(iter(found.values())).target}?"


def _stamp(found: Mapping[str, Explanation]) -> Any:
    return combined([e.stamp for e in found.values()])


def _distinct(names: Sequence[str]) -> list[str]:
    """``["crane", "crane"]`` -> ``["crane", "crane (2)"]``: ImageNet has two classes of that name."""
    return [
        name if names[:i].count(name) == 0 else f"{name} ({names[:i].count(name) + 1})" for i, name in enumerate(names)
    ]
