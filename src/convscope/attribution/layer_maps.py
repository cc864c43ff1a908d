"""What the methods that weigh a layer's maps share: which layers, and one driver from a formula to maps.

With A the activations of a layer and g = dS/dA, a formula is a function ``(activation, gradient) -> (b, h, w)``,
signed; the driver runs the network, hands both over as maps in float32 at least, and rectifies. A new method of the
family is its formula and a function of three lines (``weighted_maps.py``).

Pitfall: several layers are read off one pass, which the graph of the earliest one serves; a map at a layer is the
same whether others were asked for with it or not.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, cast, overload, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.head import default_layer
from convscope.network.passes import Inputs, forward, gradient_of, raw
from convscope.network.questions import explained_images
from convscope.network.targets import Target
from convscope.network.token_grids import as_maps

Layers = str | Sequence[str] | None
Formula = Callable[[Tensor, Tensor], Tensor]
Admission = Callable[[str, Tensor], None]


@runtime_checkable
class MapMethod(Protocol):
    """A method as a type checker sees it: at one layer it gives a tensor, at several a dict of them."""

    @overload
    def __call__(
        self,
        model: nn.Module,
        x: Inputs,
        *,
        target: Target = ...,
        layer: str | None = ...,
        relu: bool = ...,
        score: str = ...,
        wrt: int | str = ...,
    ) -> Float[Tensor, "b h w"]: ...
    @overload
    def __call__(
        self,
        model: nn.Module,
        x: Inputs,
        *,
        target: Target = ...,
        layer: Sequence[str],
        relu: bool = ...,
        score: str = ...,
        wrt: int | str = ...,
    ) -> dict[str, Tensor]: ...


def map_method(function: Callable[..., Tensor | dict[str, Tensor]]) -> MapMethod:
    """The very same function, with the two return types that overloads of each would spell out again."""
    return cast("MapMethod", function)


def layer_names(model: nn.Module, x: Inputs, layer: Layers) -> list[str]:
    """The layers asked for; the network's last map where none is.

    Raises:
        ConvscopeError: an empty list, or a network without maps.
    """
    if layer is None or isinstance(layer, str):
        return [layer or default_layer(model, x)]
    if not layer:
        raise ConvscopeError("layer=[] asks for no layer; give at least one, or None for the last map")
    return list(layer)


def as_asked(layer: Layers, maps: dict[str, Tensor]) -> Tensor | dict[str, Tensor]:
    """The one map where one layer was meant, all by name where a list was given."""
    return next(iter(maps.values())) if layer is None or isinstance(layer, str) else maps


def image_size(x: Inputs, wrt: int | str = 0) -> tuple[int, int]:
    """(H, W) of the explained images; refuses what is none, or an empty batch."""
    shape = explained_images(x, wrt).shape
    return shape[2], shape[3]


def gradient_maps(
    formula: Formula,
    model: nn.Module,
    x: Inputs,
    *,
    target: Target,
    layer: Layers,
    relu: bool,
    score: str,
    wrt: int | str,
    admit: Admission | None = None,
) -> Tensor | dict[str, Tensor]:
    """``formula(A, dS/dA)`` at one layer or several, raw, at each layer's resolution.

    One forward pass, recorded only above the (earliest) layer, and its backward pass. Arguments as ``grad_cam``;
    ``admit`` is shown each layer's name and maps, and may refuse them.
    """
    size = image_size(x, wrt)
    with evaluation(model):
        names = layer_names(model, x, layer)
        run = forward(model, x, target=target, layers=names, graph_from=names, score=score, wrt=wrt)
        recorded = [run.activations[name] for name in names]
        # raw before the maths: sums over channels in half precision would lose what it has
        count = len(run.image)
        activations = {name: raw(as_maps(a, size, name, batch=count)) for name, a in zip(names, recorded, strict=True)}
        for name, activation in activations.items():
            if admit is not None:
                admit(name, activation)
        gradients = gradient_of(run.scores, recorded, [f"layer {name!r}" for name in names])
        maps: dict[str, Tensor] = {}
        for name, gradient in zip(names, gradients, strict=True):
            values = formula(activations[name], raw(as_maps(gradient, size, name, batch=count)))
            maps[name] = values.relu() if relu else values
    return as_asked(layer, maps)
