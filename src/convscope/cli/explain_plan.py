"""Which sheet ``convscope explain`` was asked for: methods, classes, layers, models, squares, or photos x methods.

Everything that can be refused is refused here, before the first picture is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.comparisons import Step
    from convscope.network.loading import Network
    from convscope.results import Comparison

Sheet = Callable[[Any, "Step"], "Comparison"]


@dataclass(frozen=True)
class Plan:
    """One kind of sheet: ``name`` goes into the file's name, ``steps`` is how many maps a photo takes.

    ``whole_folder`` makes one sheet of all photos; else ``sheet`` makes one for each.
    """

    name: str
    steps: int
    sheet: Sheet
    whole_folder: "Callable[[Mapping[str, Any], Step], Comparison] | None" = None


@dataclass(frozen=True)
class Request:
    """What was asked for, with every name checked. ``methods`` are those that were named, ``every`` is ``all``."""

    nets: "list[Network]"
    methods: list[str]
    every: bool
    targets: list[str]
    layers: list[str]
    options: dict[str, Any]
    shared: bool | None

    @property
    def net(self) -> "Network":
        """The first network."""
        return self.nets[0]

    @property
    def target(self) -> str | None:
        """The only target; None is the top class."""
        return self.targets[0] if self.targets else None

    @property
    def layer(self) -> str | None:
        """The only layer; None is the method's default."""
        return self.layers[0] if self.layers else None

    def one_method(self, default: str = "grad-cam") -> str:
        """The method of a sheet that compares something else.

        Raises:
            ConvscopeError: several were asked for, or one that does not take the options.
        """
        if self.every or len(self.methods) > 1:
            named = "all" if self.every else ", ".join(self.methods)
            raise ConvscopeError(f"this sheet compares the maps of one method, but --method is {named}")
        method = self.methods[0] if self.methods else default
        self.refuse_unused([method])
        return method

    def refuse_unused(self, methods: list[str]) -> None:
        """Refuse a layer or an option that none of the methods on the sheet takes."""
        from convscope.attribution.registry import METHODS

        takers = {
            name: [m for m in methods if name in METHODS[m].defaults] for name in ("layer", "fill", "score", "partial")
        }
        for name, by in takers.items():
            if not by and (self.layers if name == "layer" else name in self.options):
                all_takers = ", ".join(m for m in METHODS if name in METHODS[m].defaults)
                raise ConvscopeError(f"--{name} changes nothing for {', '.join(methods)}; it is for {all_takers}")


def plan_of(
    nets: "list[Network]",
    *,
    methods: list[str],
    targets: list[str],
    layers: list[str],
    squares: list[str],
    top_classes: int | None,
    matrix: bool,
    shared: bool | None,
    options: Mapping[str, Any],
) -> Plan:
    """The sheet that the options describe.

    Raises:
        ConvscopeError: a name that does not exist, or options that ask for two kinds of sheet at once.
    """
    from convscope.attribution.registry import find_method

    every = "all" in methods
    wanted = [] if every else [find_method(name).name for name in methods]
    request = Request(nets, wanted, every, targets, layers, _known_options(nets, options), shared)
    _check_names(request)
    kinds = {
        "--model twice": len(nets) > 1,
        "--square": bool(squares),
        "--matrix": matrix,
        "--top-classes": top_classes is not None,
        "several --target": len(targets) > 1,
        "several --layer": len(layers) > 1 and not matrix,
    }
    chosen = [name for name, is_chosen in kinds.items() if is_chosen]
    if len(chosen) > 1:
        raise ConvscopeError(f"{' and '.join(chosen)} ask for different sheets; give one of them at a time")
    match chosen:
        case ["--model twice"]:
            return _models(request)
        case ["--square"]:
            return _squares(request, squares)
        case ["--matrix"]:
            return _matrix(request)
        case ["--top-classes"] | ["several --target"]:
            return _targets(request, top_classes)
        case ["several --layer"]:
            return _layers(request)
        case _:
            return _methods(request)


def _check_names(r: Request) -> None:
    """Every layer, class and unit in every network."""
    from convscope.network.layers import find_call
    from convscope.network.targets import parse_unit, resolve_names

    for net in r.nets:
        for layer in r.layers:
            find_call(net.module, layer)
        for target in r.targets:
            if target == "map" and r.methods == ["deconvnet"] and r.layers:
                continue  # all of the layer's map
            named = resolve_names(target, net.classes)
            if isinstance(named, str) and (unit := parse_unit(named)):
                find_call(net.module, unit.layer)
            if isinstance(named, int) and net.classes and named >= len(net.classes):
                raise ConvscopeError(
                    f"no class {named} in {net.name}: it has {len(net.classes)} (0 to {len(net.classes) - 1})"
                )


def _methods(r: Request) -> Plan:
    from convscope.attribution.registry import METHODS
    from convscope.comparisons import compare_methods

    r.refuse_unused(r.methods or list(METHODS))

    def sheet(photo: Any, step: "Step") -> "Comparison":
        return compare_methods(
            r.net,
            photo,
            r.methods or None,
            target=r.target,
            layer=r.layer,
            options=r.options,
            shared=bool(r.shared),
            step=step,
        )

    return Plan("-".join(r.methods) if len(r.methods) == 1 else "methods", len(r.methods or METHODS), sheet)


def _targets(r: Request, top_classes: int | None) -> Plan:
    from convscope.comparisons import compare_targets

    if top_classes is not None and r.targets:
        raise ConvscopeError("--top-classes and --target both say which classes; give one of them")
    method, shared = r.one_method(), True if r.shared is None else r.shared

    def sheet(photo: Any, step: "Step") -> "Comparison":
        return compare_targets(
            r.net, photo, r.targets or None, most=top_classes or 5, method=method, layer=r.layer, shared=shared,
            options=r.options, step=step,
        )  # fmt: skip

    return Plan(f"{method}.classes", len(r.targets) or top_classes or 5, sheet)


def _layers(r: Request) -> Plan:
    from convscope.comparisons import compare_layers

    method = r.one_method()

    def sheet(photo: Any, step: "Step") -> "Comparison":
        return compare_layers(
            r.net, photo, r.layers, method=method, target=r.target, shared=bool(r.shared), options=r.options, step=step
        )

    return Plan(f"{method}.layers", len(r.layers), sheet)


def _models(r: Request) -> Plan:
    from convscope.comparisons import compare_models

    method, shared = r.one_method(), True if r.shared is None else r.shared

    def sheet(photo: Any, step: "Step") -> "Comparison":
        return compare_models(
            r.nets, photo, method=method, target=r.target, layer=r.layer, shared=shared, options=r.options, step=step
        )

    return Plan(f"{method}.models", len(r.nets), sheet)


def _squares(r: Request, squares: list[str]) -> Plan:
    from convscope.comparisons import compare_squares

    if r.one_method("occlusion") != "occlusion":
        raise ConvscopeError(f"--square belongs to occlusion, not to {r.methods[0]}")
    pairs, shared = list(dict.fromkeys(map(_pair, squares))), True if r.shared is None else r.shared

    def sheet(photo: Any, step: "Step") -> "Comparison":
        return compare_squares(r.net, photo, pairs, target=r.target, shared=shared, options=r.options, step=step)

    return Plan("occlusion.squares", len(pairs), sheet)


def _matrix(r: Request) -> Plan:
    from convscope.attribution.registry import METHODS
    from convscope.comparisons import compare_photos

    by_layer = len(r.layers) > 1
    columns = r.layers if by_layer else (r.methods or list(METHODS))
    method = r.one_method() if by_layer else "grad-cam"
    if not by_layer:
        r.refuse_unused(columns)

    def whole(photos: Mapping[str, Any], step: "Step") -> "Comparison":
        return compare_photos(
            r.net, photos, columns, by="layer" if by_layer else "method", method=method, target=r.target,
            layer=None if by_layer else r.layer, shared=bool(r.shared), skip_refused=not r.methods and not by_layer,
            options=r.options, step=step,
        )  # fmt: skip

    return Plan("matrix", len(columns), lambda photo, step: whole({"photo": photo}, step), whole)


def _pair(text: str) -> tuple[int, int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise ConvscopeError(f"--square {text!r}: give SIZE,STRIDE in pixels, such as 50,10")
    return int(parts[0]), int(parts[1])


def _known_options(nets: "list[Network]", options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the command line as those of the methods; what was not given is left to them."""
    chosen = {name: value for name, value in options.items() if value is not None and value is not False}
    if chosen.get("score", "logit") not in ("logit", "probability"):
        raise ConvscopeError(f"--score {chosen['score']!r} is neither logit nor probability")
    if "fill" in chosen:
        fills = {_fill(net, str(chosen["fill"])) for net in nets}
        if len(fills) > 1:
            raise ConvscopeError(f"--fill {chosen['fill']} is not the same input for these networks; take mean or blur")
        chosen["fill"] = fills.pop()
    return chosen


def _fill(net: "Network", text: str) -> Any:
    """A colour as the network's own preprocessing makes it, or the name of a filling that the occlusion knows."""
    if text in ("mean", "blur", "noise"):
        return text
    from PIL import Image

    try:
        photo = Image.new("RGB", (512, 512), text)
    except ValueError:
        raise ConvscopeError(f"--fill {text!r} is no colour, and none of mean, blur, noise") from None
    x = net.input_of(photo)[0]
    return tuple(x[:, x.shape[1] // 2, x.shape[2] // 2].tolist())
