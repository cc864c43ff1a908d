"""Which sheet ``convscope explain`` was asked for: methods, classes, layers, models, squares, or photos x methods.

Everything that can be refused is refused here, before the first picture is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convscope.cli.method_options import for_networks, in_words
from convscope.cli.outputs import name_part
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.comparisons import Step
    from convscope.network.loading import Network
    from convscope.results import Comparison

Sheet = Callable[[Any, "Step"], "Comparison"]


@dataclass(frozen=True)
class Plan:
    """One kind of sheet: ``name`` goes into the file's name, ``steps`` is how many maps a photo takes.

    ``whole_folder`` makes one sheet of all photos, called ``stem``; else ``sheet`` makes one for each. ``note`` is said
    at the end.
    """

    name: str
    steps: int
    sheet: Sheet
    whole_folder: "Callable[[Mapping[str, Any], Step], Comparison] | None" = None
    note: str = ""
    stem: str = "all"


@dataclass(frozen=True)
class Request:
    """What was asked for, with every name checked.

    ``methods`` are those that were named, ``every`` is ``all``; ``in_words`` are the options as they were given.
    """

    nets: "list[Network]"
    methods: list[str]
    every: bool
    targets: list[str]
    layers: list[str]
    options: dict[str, Any]
    shared: bool | None
    in_words: tuple[str, ...] = ()

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

    def named(self, kind: str) -> str:
        """The part of a file's name that says what was asked: ``grad-cam.lion.layer4``."""
        asked = [kind, *(name_part(part) for part in (self.targets, self.layers, self.in_words) if part)]
        return ".".join(asked)

    def methods_of_a_sheet(self) -> tuple[list[str], str]:
        """Those that were named; else all, but those of hundreds of passes only where ``all`` was said, and a note."""
        from convscope.attribution.registry import METHODS

        if self.methods:
            return self.methods, ""
        slow = [] if self.every else [name for name, method in METHODS.items() if method.slow]
        note = f"note: {', '.join(slow)} take hundreds of passes and were left out; --method all has them"
        return [name for name in METHODS if name not in slow], note if slow else ""

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

        asked = [name for name in self.options if name not in ("batch", "seed", "on_step")]
        for name in [*asked, *(["layer"] if self.layers else [])]:
            if not any(name in METHODS[m].defaults for m in methods):
                takers = ", ".join(m for m in METHODS if name in METHODS[m].defaults)
                name = name if name not in ("layer", "score", "fill", "partial") else f"--{name}"
                raise ConvscopeError(f"{name} changes nothing for {', '.join(methods)}; it is for {takers}")


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
    request = Request(nets, wanted, every, targets, layers, for_networks(nets, options), shared, in_words(options))
    check_names(request)
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


def check_names(r: Request) -> None:
    """Every layer, class and unit in every network: refused here what is in one of them not there."""
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
    from convscope.comparisons import compare_methods

    methods, note = r.methods_of_a_sheet()
    r.refuse_unused(methods)

    def sheet(photo: Any, step: "Step") -> "Comparison":
        return compare_methods(
            r.net, photo, methods, target=r.target, layer=r.layer, options=r.options, shared=bool(r.shared),
            skip_refused=not r.methods, step=step,
        )  # fmt: skip

    return Plan(r.named(name_part(r.methods) or "methods"), len(methods), sheet, note=note)


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

    return Plan(r.named(f"{method}.classes"), len(r.targets) or top_classes or 5, sheet)


def _layers(r: Request) -> Plan:
    from convscope.comparisons import compare_layers

    method = r.one_method()

    def sheet(photo: Any, step: "Step") -> "Comparison":
        return compare_layers(
            r.net, photo, r.layers, method=method, target=r.target, shared=bool(r.shared), options=r.options, step=step
        )

    return Plan(r.named(f"{method}.layers"), len(r.layers), sheet)


def _models(r: Request) -> Plan:
    from convscope.comparisons import compare_models

    method, shared = r.one_method(), True if r.shared is None else r.shared

    def sheet(photo: Any, step: "Step") -> "Comparison":
        return compare_models(
            r.nets, photo, method=method, target=r.target, layer=r.layer, shared=shared, options=r.options, step=step
        )

    return Plan(r.named(f"{method}.models"), len(r.nets), sheet)


def _squares(r: Request, squares: list[str]) -> Plan:
    from convscope.comparisons import compare_squares

    if r.one_method("occlusion") != "occlusion":
        raise ConvscopeError(f"--square belongs to occlusion, not to {r.methods[0]}")
    pairs, shared = list(dict.fromkeys(map(_pair, squares))), True if r.shared is None else r.shared

    def sheet(photo: Any, step: "Step") -> "Comparison":
        return compare_squares(r.net, photo, pairs, target=r.target, shared=shared, options=r.options, step=step)

    return Plan(r.named("occlusion.squares"), len(pairs), sheet)


def _matrix(r: Request) -> Plan:
    from convscope.comparisons import compare_photos

    by_layer = len(r.layers) > 1
    columns, note = (r.layers, "") if by_layer else r.methods_of_a_sheet()
    method = r.one_method() if by_layer else "grad-cam"
    if not by_layer:
        r.refuse_unused(columns)

    def whole(photos: Mapping[str, Any], step: "Step") -> "Comparison":
        return compare_photos(
            r.net, photos, columns, by="layer" if by_layer else "method", method=method, target=r.target,
            layer=None if by_layer else r.layer, shared=bool(r.shared), skip_refused=not r.methods and not by_layer,
            options=r.options, step=step,
        )  # fmt: skip

    return Plan(
        r.named(".".join(["matrix", *([name_part(r.methods)] if r.methods else [])])),
        len(columns),
        lambda photo, step: whole({"photo": photo}, step),
        whole,
        note,
    )


def _pair(text: str) -> tuple[int, int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise ConvscopeError(f"--square {text!r}: give SIZE,STRIDE in pixels, such as 50,10")
    return int(parts[0]), int(parts[1])
