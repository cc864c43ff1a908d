"""The friendly call of every attribution method: a photo in, a result out that shows and saves itself."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, overload

from torch import Tensor

from convscope.answers import Photo, Seen, seen_by
from convscope.attribution.deconvolution import strongest_units
from convscope.attribution.method import Method
from convscope.attribution.registry import find_method
from convscope.attribution.sliding_occlusion import square_of
from convscope.errors import ConvscopeError
from convscope.network.head import default_layer
from convscope.network.loading import Network
from convscope.network.targets import Target, Unit, parse_unit, resolve_names
from convscope.results import Explanation, Prediction
from convscope.seeds import seeded


@overload
def explain(
    net: Network, photo: Photo, method: str = ..., target: Target = ..., layer: str | None = ..., **options: Any
) -> Explanation: ...
@overload
def explain(
    net: Network, photo: Photo, method: str = ..., target: Target = ..., *, layer: Sequence[str], **options: Any
) -> dict[str, Explanation]: ...


def explain(
    net: Network,
    photo: Photo,
    method: str = "grad-cam",
    target: Target = None,
    layer: Any = None,
    **options: Any,
) -> Explanation | dict[str, Explanation]:
    """Explain one photo by one method.

    Args:
        net: from ``load``.
        photo: a path, a PIL image or a uint8 array; or what ``answers.seen_by`` made of one, to prepare it once.
        method: a name in ``convscope.attribution.METHODS``.
        target: None (the top class), a class by name or number, ``layer:unit``, ``layer:unit@y,x``, or a callable.
            For the deconvnet None is the strongest position of the strongest unit of the layer, and with ``layer`` a
            number is that unit of it and ``"map"`` all of it.
        layer: for methods that work at one; None is the last map; a list gives a dict of results.
        options: the method's own (``size=``, ``stride=`` of the occlusion, ...); ``seed=`` for its randomness, 0 unless
            given.

    Raises:
        ConvscopeError: anything in this that does not exist, or a method that does not apply to the network.
    """
    if isinstance(layer, Sequence) and not isinstance(layer, str):
        if not layer:
            raise ConvscopeError("layer=[] asks for no layer; give at least one, or None for the last map")
        return {name: explain(net, photo, method, target, name, **options) for name in layer}
    found, seen = find_method(method), seen_by(net, photo)
    seed = _seed(found, options)
    _check_options(found, options)
    top, named = _aimed(seen, found, target, layer)
    layer, aimed = _where(found, net, seen.x, named, layer, top)
    if "layer" in found.defaults:
        options["layer"] = layer
    if found.name == "occlusion":  # what a square shows depends on its size: the result must say it
        height, width = seen.x.shape[2:]
        options["size"], options["stride"] = square_of(height, width, options.get("size"), options.get("stride"))
    values, measures = found.measured(net.module, seen.x, target=aimed, **options)
    return Explanation(
        values=values[0].float().cpu(),
        method=found.name,
        layer=layer,
        target="any class" if found.classless else _label(net, aimed),
        photo=seen.view,
        prediction=top,
        options={k: v for k, v in options.items() if k != "layer" and isinstance(v, str | int | float | bool | tuple)},
        measures={name: float(value[0]) for name, value in measures.items()},
        input_size=(seen.x.shape[2], seen.x.shape[3]),
        stamp=replace(seen.stamp, seed=seed),
    )


def _seed(found: Method, options: dict[str, Any]) -> int | None:
    """Takes ``seed`` out of the options and puts a generator in; the seed, where the method draws random numbers."""
    seed = options.pop("seed", None)
    if "generator" not in found.defaults or "generator" in options:
        return seed
    if seed is None and (found.name != "occlusion" or options.get("fill") == "noise"):
        seed = 0  # never torch's global state: the same call gives the same map
    if seed is not None:
        options["generator"] = seeded(seed)
    return seed


def _aimed(seen: Seen, found: Method, target: Target, layer: str | None) -> tuple[Prediction | None, Target]:
    """The prediction, where the network gives logits, and the target with names replaced by numbers."""
    is_map = found.name == "deconvnet" and layer is not None and isinstance(target, str) and target == "map"
    named = target if is_map else resolve_names(target, seen.net.classes)
    if callable(named) and not isinstance(named, Tensor):
        return None, named
    if found.name == "deconvnet" and layer is not None and isinstance(named, int):
        if isinstance(target, str) and not target.isdecimal():
            raise ConvscopeError(
                f"the deconvnet starts from a class or in a layer: {target!r} is a class, {layer!r} a layer; with a "
                "layer give a unit's number, 'layer:unit', 'layer:unit@y,x' or 'map'"
            )
        named = str(Unit(layer, named))
    return seen.answer, named


def _where(
    found: Method, net: Network, x: Tensor, target: Target, layer: str | None, top: Prediction | None
) -> tuple[str | None, Target]:
    """The layer that a method works at, and its target made definite: the top class, or the strongest unit."""
    if found.name == "deconvnet":
        if target is None:
            layer = layer or default_layer(net.module, x)
            return layer, str(strongest_units(net.module, x, layer)[0])
        unit = parse_unit(target) if isinstance(target, str) else None
        return layer or (unit.layer if unit else None), target
    if layer is not None and not found.needs_layer:
        raise ConvscopeError(f"{found.name} does not work at a layer; layer={layer!r} would change nothing")
    if target is None and top is not None:
        target = top.indices[0]
    if found.needs_layer and layer is None:
        layer = default_layer(net.module, x)
    return layer, target


def _check_options(found: Method, options: dict[str, Any]) -> None:
    unknown = [name for name in options if name not in found.defaults]
    if unknown:
        possible = ", ".join(n for n in found.defaults if n not in ("target", "layer")) or "none"
        raise ConvscopeError(f"{found.name} has no option {unknown[0]!r}; its options are {possible}")


def _label(net: Network, target: Target) -> str:
    if isinstance(target, int):
        return net.class_name(target)
    if isinstance(target, str | Unit):
        return str(target)
    return getattr(target, "__name__", "several") if target is not None else ""
