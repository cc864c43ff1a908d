"""Several explanations on one sheet: methods, classes, layers, models, sizes of the occluding square, many photos.

What is compared is drawn on one scale where that is asked for, or where the comparison makes no sense without it
(two classes, two models). What does not apply to a network stays on the sheet as an empty place with the reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from convscope.api import Photo, explain, predict
from convscope.attribution.registry import METHODS
from convscope.drawing import scale_for
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.pictures import read_image
from convscope.network.targets import Target
from convscope.render.colour_bar import ColourBar
from convscope.render.overlay import OPACITY
from convscope.render.scale import Scale
from convscope.render.sheet import matrix, sheet
from convscope.render.tile import Tile
from convscope.results import Explanation, Prediction, Shown, fitted
from convscope.stamps import Stamp

Step = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Comparison(Shown):
    """Explanations side by side. ``left_out`` says what does not apply to the network, and why."""

    title: str
    subtitle: str
    tiles: tuple[tuple[Tile | None, ...], ...] = field(repr=False)
    explanations: Mapping[str, Explanation] = field(repr=False)
    left_out: Mapping[str, str]
    stamp: Stamp = field(repr=False)
    row_headings: tuple[str, ...] = ()
    column_headings: tuple[str, ...] = ()
    bar: ColourBar | None = field(default=None, repr=False)

    def picture(self) -> Image.Image:
        """The sheet."""
        options: dict[str, Any] = {
            "title": self.title, "subtitle": self.subtitle, "footer": self.stamp.line(), "bar": self.bar,
        }  # fmt: skip
        if self.row_headings or self.column_headings:
            return matrix(
                self.tiles,
                row_headings=self.row_headings,
                column_headings=self.column_headings,
                tile_width=200,
                **options,
            )
        return sheet([tile for tile in self.tiles[0] if tile is not None], **options)

    def facts(self) -> Mapping[str, str]:
        """Title, what each method shows and does not show, what was left out."""
        facts = {"sheet": f"{self.title}: {self.subtitle}" if self.subtitle else self.title}
        for method in dict.fromkeys(e.method for e in self.explanations.values()):
            facts[method] = f"{METHODS[method].claim} {METHODS[method].limits}"
        return facts | {f"left out: {name}": why for name, why in self.left_out.items()}

    def arrays(self) -> Mapping[str, np.ndarray]:
        """The raw values of every map."""
        return {name: e.values.numpy() for name, e in self.explanations.items()}


def compare_methods(
    net: Network,
    photo: Photo,
    methods: Sequence[str] | None = None,
    *,
    target: Target = None,
    layer: str | None = None,
    shared: bool = False,
    options: Mapping[str, Any] | None = None,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo by several methods; ``methods=None`` is all of them, with the reason where one does not apply.

    ``target`` and ``layer`` go to the methods that take them; the deconvnet shows the strongest unit unless the
    target is a unit. ``options`` are given to the methods that know them. ``shared``: methods that look alike (gradients
    round grey, heat) and measure in the same unit are rarely compared by value, but may be.
    """
    image = read_image(photo)
    seen = predict(net, image)
    found: dict[str, Explanation] = {}
    left_out: dict[str, str] = {}
    for name in methods or METHODS:
        step(name)
        try:
            found[name] = explain(net, image, name, **_options_of(name, target, layer, options or {}))
        except ConvscopeError as error:
            if methods is not None:
                raise
            left_out[name] = str(error)
    scales = _scales_by_look(found) if shared else {}
    tiles = [photo_tile(seen), Tile(seen.bars(), "answer", net.name)]
    for name in methods or METHODS:
        tile = found[name].tile(scales.get(METHODS[name].look)) if name in found else None
        tiles.append(tile or Tile(None, name, "does not apply", warning=left_out[name]))
    if not found:
        raise ConvscopeError(f"no method applies to {net.name}: {'; '.join(f'{n}: {w}' for n, w in left_out.items())}")
    explained = next((e.target for e in found.values() if e.method != "deconvnet"), seen[0][0])
    return Comparison(f"Why {explained}?", answer_line(seen), (tuple(tiles),), found, left_out, seen.stamp)


def compare_targets(
    net: Network,
    photo: Photo,
    targets: Sequence[Target] | None = None,
    *,
    most: int = 5,
    method: str = "grad-cam",
    layer: str | None = None,
    shared: bool = True,
    options: Mapping[str, Any] | None = None,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo, several classes or units: by default the ``most`` probable classes, on one scale."""
    image = read_image(photo)
    seen = predict(net, image, k=most if targets is None else 5)
    wanted = list(targets) if targets is not None else list(seen.indices)
    found: list[Explanation] = []
    for one in wanted:
        step(f"{method} of {one}")
        found.append(explain(net, image, method, **_options_of(method, one, layer, options or {})))
    notes = [_probability_of(net, seen, e.target) for e in found]
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
    options: Mapping[str, Any] | None = None,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo and class at several layers. Each map has its own scale: gradients shrink and grow with depth."""
    image = read_image(photo)
    seen = predict(net, image)
    found: list[Explanation] = []
    for name in layers:
        step(f"{method} at {name}")
        found.append(explain(net, image, method, **_options_of(method, target, name, options or {})))
    notes = [" x ".join(map(str, e.values.shape)) for e in found]
    title = f"{method} of {found[0].target} after {len(layers)} layers"
    return _in_a_row(title, seen, found, list(layers), notes, shared=shared)


def compare_models(
    nets: Sequence[Network],
    photo: Photo,
    *,
    method: str = "grad-cam",
    target: Target = None,
    layer: str | None = None,
    shared: bool = True,
    options: Mapping[str, Any] | None = None,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo and class by several models, on one scale unless ``shared=False``."""
    image = read_image(photo)
    tiles: list[Tile] = []
    found: dict[str, Explanation] = {}
    answers: list[Prediction] = []
    for net in nets:
        step(f"{method} by {net.name}")
        answers.append(predict(net, image))
        name = net.name if net.name not in found else f"{net.name} ({len(found) + 1})"
        found[name] = explain(net, image, method, **_options_of(method, target, layer, options or {}))
    scale = scale_for(method, [e.values for e in found.values()]) if shared else None
    for (name, explanation), seen in zip(found.items(), answers, strict=True):
        tiles += [photo_tile(seen, caption=name), explanation.tile(scale)]
    title = f"{method} of {next(iter(found.values())).target} by {len(nets)} models"
    return Comparison(title, "one scale for all" if shared else "", (tuple(tiles),), found, {}, answers[0].stamp)


def compare_squares(
    net: Network,
    photo: Photo,
    squares: Sequence[tuple[int, int]],
    *,
    target: Target = None,
    options: Mapping[str, Any] | None = None,
    step: Step = lambda _: None,
) -> Comparison:
    """Occlusion at several (size, stride) pairs, as maps of the class's probability with the square there."""
    image = read_image(photo)
    seen = predict(net, image)
    given = {"reading": "score", "score": "probability"} | dict(options or {})
    found: list[Explanation] = []
    for size, stride in squares:
        step(f"square of {size} px every {stride} px")
        found.append(explain(net, image, "occlusion", target, size=size, stride=stride, **given))
    names = [f"{size} px, every {stride} px" for size, stride in squares]
    notes = [f"{e.values.shape[0]} x {e.values.shape[1]} positions" for e in found]
    title = f"Probability of {found[0].target} with a square covered"
    return _in_a_row(title, seen, found, names, notes, shared=True)


def compare_photos(
    net: Network,
    photos: Mapping[str, Photo],
    columns: Sequence[str],
    *,
    by: str = "method",
    method: str = "grad-cam",
    target: Target = None,
    layer: str | None = None,
    skip_refused: bool = False,
    options: Mapping[str, Any] | None = None,
    step: Step = lambda _: None,
) -> Comparison:
    """Photos x methods (``by="method"``) or photos x layers (``by="layer"``), a row a photo.

    ``skip_refused`` leaves an empty place, with the reason, where a method does not apply.
    """
    rows: list[tuple[Tile | None, ...]] = []
    found: dict[str, Explanation] = {}
    left_out: dict[str, str] = {}
    stamp_of: Stamp | None = None
    for name, photo in photos.items():
        image = read_image(photo)
        seen = predict(net, image)
        stamp_of = stamp_of or seen.stamp
        row: list[Tile | None] = [photo_tile(seen, caption="")]
        for column in columns:
            step(f"{name}: {column}")
            used, where = (column, layer) if by == "method" else (method, column)
            try:
                one = explain(net, image, used, **_options_of(used, target, where, options or {}))
            except ConvscopeError as error:
                if not skip_refused:
                    raise
                left_out[column] = str(error)
                row.append(Tile(None, "", "does not apply", warning=str(error)))
                continue
            found[f"{name}|{column}"] = one
            row.append(one.tile(caption="", note=one.target))
        rows.append(tuple(row))
    if stamp_of is None:
        raise ConvscopeError("no photo to compare: give at least one")
    title = f"{len(rows)} photos x {len(columns)} {by}s"
    headings = ("photo", *columns)
    return Comparison(title, net.name, tuple(rows), found, left_out, stamp_of, tuple(photos), headings)


def _scales_by_look(found: Mapping[str, Explanation]) -> dict[str, Scale]:
    """One scale for all maps that are drawn alike."""
    by_look: dict[str, list[Explanation]] = {}
    for explanation in found.values():
        by_look.setdefault(METHODS[explanation.method].look, []).append(explanation)
    return {look: scale_for(es[0].method, [e.values for e in es]) for look, es in by_look.items()}


def photo_tile(seen: Prediction, *, caption: str = "photo") -> Tile:
    """The part of the photo that the network saw, and its answer."""
    return Tile(fitted(seen.photo), caption, f"{seen[0][0]} {seen[0][1]:.1%}")


def answer_line(seen: Prediction, most: int = 3) -> str:
    """``tabby 91.0 %, lion 3.1 %, ...``."""
    return ", ".join(f"{name} {probability:.1%}" for name, probability in seen[:most])


def _in_a_row(
    title: str, seen: Prediction, found: list[Explanation], names: list[str], notes: list[str], *, shared: bool
) -> Comparison:
    scale = scale_for(found[0].method, [e.values for e in found]) if shared else None
    tiles = [photo_tile(seen)]
    tiles += [e.tile(scale, caption=n, note=note) for e, n, note in zip(found, names, notes, strict=True)]
    if scale is not None and METHODS[found[0].method].look == "heat":
        bar = ColourBar(scale, opacity=OPACITY)
        tiles = [Tile(t.image, t.caption, t.note, None, t.warning, t.pixels) for t in tiles]
    else:
        bar = None
    return Comparison(
        title, answer_line(seen), (tuple(tiles),), dict(zip(names, found, strict=True)), {}, seen.stamp, bar=bar
    )


def _options_of(method: str, target: Target, layer: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """What of the sheet's target, layer and options one method takes."""
    about = METHODS.get(method)
    known = about.defaults if about is not None else {}
    chosen = {name: value for name, value in options.items() if name in known}
    is_unit = isinstance(target, str) and ":" in target
    wants_layer = about is not None and (about.needs_layer or method == "deconvnet")
    return {
        "target": target if method != "deconvnet" or is_unit else None,
        "layer": layer if wants_layer and not (method == "deconvnet" and is_unit) else None,
        **chosen,
    }


def _probability_of(net: Network, seen: Prediction, target: str) -> str:
    probabilities = seen.logits.softmax(0)
    known = {net.class_name(i): float(p) for i, p in enumerate(probabilities)}
    return f"{known[target]:.1%}" if target in known else ""
