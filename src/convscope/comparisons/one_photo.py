"""One photo explained in several ways: by methods, for classes, at layers, by models, with squares of several sizes."""

from collections.abc import Mapping, Sequence

from convscope.answers import Photo, predict, seen_by
from convscope.api import explain
from convscope.attribution.registry import METHODS, find_method
from convscope.comparisons.asking import NO_OPTIONS, Options, Step, check_target, options_of, refuse_nothing
from convscope.comparisons.placing import (
    answer_line,
    distinct,
    in_a_row,
    one_of,
    photo_tile,
    scales_by_look,
    shared_scale,
    stamp_of,
)
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.pictures import read_image
from convscope.network.targets import Target, parse_unit, resolve_names
from convscope.render.tile import Tile
from convscope.results import Comparison, Explanation, Prediction
from convscope.wording import percent


def compare_methods(
    net: Network,
    photo: Photo,
    methods: Sequence[str] | None = None,
    *,
    target: Target = None,
    layer: str | None = None,
    shared: bool = False,
    skip_refused: bool | None = None,
    options: Options = NO_OPTIONS,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo by several methods; ``methods=None`` is all that do not take hundreds of passes.

    ``skip_refused`` leaves an empty place, with the reason, where a method does not apply; so where none was named.
    ``options`` are given to the methods that know them. ``shared``: one scale for methods that look alike (gradients
    round grey, heat), which rarely measure in the same unit.
    """
    photo = seen_by(net, photo)
    seen = photo.answer
    skips = methods is None if skip_refused is None else skip_refused
    if skips:
        check_target(photo, target)
    quick = [name for name, method in METHODS.items() if not method.slow]
    names = [find_method(name).name for name in (quick if methods is None else methods)]
    found: dict[str, Explanation] = {}
    left_out: dict[str, str] = {}
    for name in names:
        step(name)
        try:
            given = options_of(name, target, layer, options, mixed=len(names) > 1)
            found[name] = explain(net, photo, name, **given)
        except ConvscopeError as error:
            if not skips:
                raise
            left_out[name] = str(error)
    refuse_nothing(net, found, left_out)
    scales = scales_by_look(found.values()) if shared else {}
    tiles = [photo_tile(seen), Tile(seen.bars(), "answer", net.name)]
    for name in names:
        tile = found[name].tile(scales.get(METHODS[name].look)) if name in found else None
        tiles.append(tile or Tile(None, name, "does not apply", warning=left_out[name]))
    return Comparison(_why(found), answer_line(seen), (tuple(tiles),), found, left_out, stamp_of(found.values()))


def _why(found: Mapping[str, Explanation]) -> str:
    if all(METHODS[e.method].classless for e in found.values()):
        return "What stands out, whatever the class?"
    of_classes = [e.target for e in found.values() if e.method != "deconvnet" and not METHODS[e.method].classless]
    explained = (of_classes or [e.target for e in found.values()])[0]
    return f"What drove {explained}?" if parse_unit(explained) else f"Why {explained}?"


def compare_targets(
    net: Network,
    photo: Photo,
    targets: Sequence[Target] | None = None,
    *,
    most: int = 5,
    method: str = "grad-cam",
    layer: str | None = None,
    shared: bool = True,
    options: Options = NO_OPTIONS,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo, several classes or units: by default the ``most`` probable classes, on one scale."""
    if find_method(method).classless:
        raise ConvscopeError(f"{method} gives one map for every class: there is nothing to set against each other")
    photo = seen_by(net, photo)
    seen = predict(net, photo, k=most if targets is None else 5)
    wanted: list[Target] = list(seen.indices) if targets is None else list(targets)
    found: list[Explanation] = []
    for one in wanted:
        step(f"{method} of {one}")
        found.append(explain(net, photo, method, **options_of(method, one, layer, options)))
    names = [e.target for e in found]
    notes = [_probability_of(net, seen, one, name) for one, name in zip(wanted, names, strict=True)]
    title = " against ".join(names) if len(found) == 2 else f"{method} of {len(found)} classes"
    return in_a_row(title, answer_line(seen), seen, found, names, notes, shared=shared)


def _probability_of(net: Network, seen: Prediction, target: Target, explained: str) -> str:
    """Of a class; by its number, since two classes may share a name. Empty where a unit was explained."""
    number = resolve_names(target, net.classes)
    if not isinstance(number, int) or explained != net.class_name(number):
        return ""
    return percent(float(seen.logits.softmax(0)[number]))


def compare_layers(
    net: Network,
    photo: Photo,
    layers: Sequence[str],
    *,
    method: str = "grad-cam",
    target: Target = None,
    shared: bool = False,
    options: Options = NO_OPTIONS,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo and class at several layers. Each map has its own scale: gradients shrink and grow with depth."""
    photo = seen_by(net, photo)
    seen = photo.answer
    found: list[Explanation] = []
    for name in layers:
        step(f"{method} at {name}")
        found.append(explain(net, photo, method, **options_of(method, target, name, options)))
    alike = len({e.target for e in found}) == 1  # deconvnet takes each layer's strongest unit
    title = f"{method} of {one_of(found)}" if alike else method
    title += f" at {len(layers)} layers"
    notes = [" x ".join(map(str, e.values.shape)) if alike else e.target for e in found]
    return in_a_row(title, answer_line(seen), seen, found, list(layers), notes, shared=shared)


def compare_models(
    nets: Sequence[Network],
    photo: Photo,
    *,
    method: str = "grad-cam",
    target: Target = None,
    layer: str | None = None,
    shared: bool = True,
    options: Options = NO_OPTIONS,
    step: Step = lambda _: None,
) -> Comparison:
    """One photo and class by several models, on one scale unless ``shared=False``."""
    image = read_image(photo)
    names = distinct([net.name for net in nets])
    found: dict[str, Explanation] = {}
    answers: list[Prediction] = []
    for name, net in zip(names, nets, strict=True):
        step(f"{method} by {name}")
        looked_at = seen_by(net, image)
        answers.append(looked_at.answer)
        found[name] = explain(net, looked_at, method, **options_of(method, target, layer, options))
    scale = shared_scale(list(found.values())) if shared else None
    tiles: list[Tile] = []
    for (name, explanation), seen in zip(found.items(), answers, strict=True):
        tiles += [photo_tile(seen, caption=name), explanation.tile(scale)]
    title = f"{method} of {one_of(found)} by {len(nets)} models"
    subtitle = "one scale for all" if shared else ""
    return Comparison(title, subtitle, (tuple(tiles),), found, {}, stamp_of(found.values()))


def compare_squares(
    net: Network,
    photo: Photo,
    squares: Sequence[tuple[int, int]],
    *,
    target: Target = None,
    shared: bool = True,
    options: Options = NO_OPTIONS,
    step: Step = lambda _: None,
) -> Comparison:
    """Occlusion at several (size, stride) pairs, as maps of the class's probability with the square there.

    ``options={"score": "logit"}`` takes its logit; of a unit it is always the activation.
    """
    photo = seen_by(net, photo)
    seen = photo.answer
    is_unit = isinstance(resolve_names(target, net.classes), str)
    given = {"reading": "score", "score": "logit" if is_unit else "probability", **options}
    found: list[Explanation] = []
    for size, stride in squares:
        step(f"square of {size} px every {stride} px")
        found.append(explain(net, photo, "occlusion", target, size=size, stride=stride, **given))
    names = [f"{size} px, every {stride} px" for size, stride in squares]
    notes = [f"{e.values.shape[0]} x {e.values.shape[1]} positions" for e in found]
    what = "activation" if is_unit else str(given["score"])
    title = f"{what.capitalize()} of {found[0].target} with a square covered"
    subtitle = f"{answer_line(seen)}. Low where the answer needs what is covered."
    return in_a_row(title, subtitle, seen, found, names, notes, shared=shared, unit=what)
