"""The friendly calls: a photo in, a result out that shows and saves itself."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from convscope.attribution.deconvolution import strongest_units
from convscope.attribution.method import Method
from convscope.attribution.registry import find_method
from convscope.attribution.sliding_occlusion import square_of
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.head import default_layer
from convscope.network.layers import run_model
from convscope.network.loading import Network
from convscope.network.pictures import read_image
from convscope.network.preprocessing import Preprocess
from convscope.network.targets import Target, Unit, class_logits, parse_unit, resolve_names
from convscope.results import Explanation, Prediction
from convscope.stamps import stamp

Photo = Any  # a path, a PIL image or a uint8 array: whatever read_image takes


def predict(net: Network, photo: Photo, k: int = 5) -> Prediction:
    """The ``k`` most probable classes of a photo, best first: ``[(class name, probability), ...]``.

    Raises:
        ConvscopeError: a photo that cannot be read, or a network that does not take it.
    """
    image = read_image(photo)
    return prediction_of(net, input_logits(net, net.input_of(image))[0], image, k)


def logits_of_many(
    net: Network,
    photos: Iterable[tuple[str, Image.Image]],
    *,
    batch: int = 32,
    refused: Callable[[str, ConvscopeError], None] | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """(name, photo) pairs -> (name, logits), in order, at most ``batch`` photos of one input size at a time.

    ``refused`` is told of each photo that the network does not take, which is then left out; without it that is raised.
    """
    waiting: list[tuple[str, Tensor]] = []
    for name, photo in photos:
        try:
            x = net.input_of(photo)
        except ConvscopeError as error:
            _tell(refused, [name], error)
            continue
        if waiting and (len(waiting) == batch or waiting[0][1].shape != x.shape):
            yield from _flush(net, waiting, refused)
            waiting = []
        waiting.append((name, x))
    if waiting:
        yield from _flush(net, waiting, refused)


def _flush(net: Network, waiting: list[tuple[str, Tensor]], refused: Any) -> Iterator[tuple[str, Tensor]]:
    names = [name for name, _ in waiting]
    try:
        logits = input_logits(net, torch.cat([x for _, x in waiting]))
    except ConvscopeError as error:
        _tell(refused, names, error)
        return
    yield from zip(names, logits, strict=True)


def _tell(refused: Callable[[str, ConvscopeError], None] | None, names: Sequence[str], error: ConvscopeError) -> None:
    if refused is None:
        raise error
    for name in names:
        refused(name, error)


def prediction_of(net: Network, logits: Tensor, image: Image.Image, k: int = 5) -> Prediction:
    """A result from logits ``(classes,)`` that are known already."""
    top, indices = ranked(net, logits, k)
    return Prediction(top, logits, indices, viewed(net, image), stamp(net, image))


def ranked(net: Network, logits: Tensor, k: int) -> tuple[tuple[tuple[str, float], ...], tuple[int, ...]]:
    """The ``k`` most probable classes, best first: (name, probability) each, and their numbers.

    Raises:
        ConvscopeError: k below 1.
    """
    if k < 1:
        raise ConvscopeError(f"k={k}: ask for at least one class")
    probabilities = logits.softmax(0)
    indices = logits.argsort(descending=True, stable=True)[:k].tolist()  # probabilities round to 0 and 1
    return tuple((net.class_name(i), float(probabilities[i])) for i in indices), tuple(indices)


def input_logits(net: Network, x: Tensor) -> Tensor:
    """``(b, classes)`` float32 CPU logits of network input ``(b, c, h, w)``.

    Raises:
        ConvscopeError: the network refuses the input, or has another number of outputs than there are names.
    """
    with refusing_input(net, x), evaluation(net.module), torch.no_grad():
        logits = class_logits(run_model(net.module, x)).float().cpu()
    if net.classes and len(net.classes) != logits.shape[1]:
        raise ConvscopeError(f"{len(net.classes)} class names for a network with {logits.shape[1]} outputs")
    return logits


@contextmanager
def refusing_input(net: Network, x: Tensor) -> Generator[None]:
    """Within the block, what the network raises on ``x`` is refused: the input does not fit it."""
    try:
        yield
    except ConvscopeError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:
        size = " x ".join(map(str, x.shape[1:]))
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConvscopeError(f"{net.name} cannot take an input of {size}: {why}") from error


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
        photo: a path, a PIL image or a uint8 array.
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
    found, image = find_method(method), read_image(photo)
    seed = _seed(found, options)
    _check_options(found, options)
    x = net.input_of(image)
    top, named = _aimed(net, image, x, found, target, layer)
    layer, aimed = _where(found, net, x, named, layer, top)
    if "layer" in found.defaults:
        options["layer"] = layer
    if found.name == "occlusion":  # what a square shows depends on its size: the result must say it
        height, width = x.shape[2:]
        options["size"], options["stride"] = square_of(height, width, options.get("size"), options.get("stride"))
    values = found(net.module, x, target=aimed, **options)[0]
    return Explanation(
        values=values.float().cpu(),
        method=found.name,
        layer=layer,
        target=_label(net, aimed),
        photo=viewed(net, image),
        prediction=top,
        options={k: v for k, v in options.items() if k != "layer" and isinstance(v, str | int | float | bool | tuple)},
        input_size=(x.shape[2], x.shape[3]),
        stamp=stamp(net, image, seed) if top is None else replace(top.stamp, seed=seed),
    )


def _seed(found: Method, options: dict[str, Any]) -> int | None:
    """Takes ``seed`` out of the options and puts a generator in; the seed, where the method draws random numbers."""
    seed = options.pop("seed", None)
    if "generator" not in found.defaults or "generator" in options:
        return seed
    if seed is None and (found.name != "occlusion" or options.get("fill") == "noise"):
        seed = 0  # never torch's global state: the same call gives the same map
    if seed is not None:
        options["generator"] = torch.Generator().manual_seed(seed)
    return seed


def _aimed(
    net: Network, image: Image.Image, x: Tensor, found: Method, target: Target, layer: str | None
) -> tuple[Prediction | None, Target]:
    """The prediction, where the network gives logits, and the target with names replaced by numbers."""
    is_map = found.name == "deconvnet" and layer is not None and isinstance(target, str) and target == "map"
    named = target if is_map else resolve_names(target, net.classes)
    if callable(named) and not isinstance(named, Tensor):
        return None, named
    if found.name == "deconvnet" and layer is not None and isinstance(named, int):
        if isinstance(target, str) and not target.isdecimal():
            raise ConvscopeError(
                f"the deconvnet starts from a class or in a layer: {target!r} is a class, {layer!r} a layer; with a "
                "layer give a unit's number, 'layer:unit', 'layer:unit@y,x' or 'map'"
            )
        named = str(Unit(layer, named))
    return prediction_of(net, input_logits(net, x)[0], image), named


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


def viewed(net: Network, image: Image.Image) -> Image.Image:
    """The part of the photo that the network sees, as a picture to draw on."""
    if isinstance(net.preprocess, Preprocess):
        return net.preprocess.view(image)
    x = net.input_of(image)[0].float().cpu()
    span = float(x.max() - x.min()) or 1.0
    pixels = ((x - x.min()) / span * 255).round().clamp(0, 255).byte().numpy()
    grey_or_rgb = pixels[:3] if len(pixels) >= 3 else np.repeat(pixels[:1], 3, 0)
    return Image.fromarray(np.ascontiguousarray(grey_or_rgb.transpose(1, 2, 0)))
