"""Which units of a layer an answer rests on most.

For a score S, the layer's output A and g = dS/dA, the importance of unit k is

    I_k = sum_yx g_kyx A_kyx

the drop of S on putting the unit to zero, to first order (Molchanov et al. 2017, "Pruning convolutional neural
networks for resource efficient inference", arXiv:1611.06440, eq. 6 to 8, there with its absolute value). Where a mean
over the map and a linear layer follow (the last map of ResNet), g = w_k / (h w) and I_k = w_k mean(A_k): the largest is
"largest weight x mean activation", and the drop is exactly that.

Pitfalls: to first order only. Below many layers, or where units back each other up, the order of the true drops may be
another one (``effect_of_each`` has them). A layer before a batch norm says less of "off": ``normalised_after``.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from convscope.attribution.layer_maps import image_size
from convscope.attribution.unit_values import unit_axis
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import nodes
from convscope.network.head import default_layer
from convscope.network.passes import Inputs, forward, gradient_of, raw
from convscope.network.saved_fields import operation
from convscope.network.targets import Target


def unit_importance(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: str | None = None,
    score: str = "logit",
    wrt: int | str = 0,
) -> Float[Tensor, "b units"]:
    """sum_yx dS/dA_k A_k: what the score would lose without each unit, to first order, in one forward and backward.

    Args:
        model: any module; given back as it was.
        x: ``(b, c, H, W)`` network input, or a tuple or dict of inputs.
        target: see ``gradient``; None is each image's top class.
        layer: any layer with units; None is the last map before the head.
        score: ``"logit"`` or ``"probability"``.
        wrt: which of several inputs is the image.

    Raises:
        ConvscopeError: no such layer, or one that the score does not depend on.
    """
    with evaluation(model):
        name = layer or default_layer(model, x)
        run = forward(model, x, target=target, layers=[name], graph_from=[name], score=score, wrt=wrt)
        activation = run.activations[name]
        (gradient,) = gradient_of(run.scores, [activation], [f"layer {name!r}"])
        products = raw(gradient) * raw(activation)
        axis = unit_axis(products, image_size(x, wrt), name, batch=len(run.image))
        return products.movedim(axis, 1).flatten(2).sum(2) if products.ndim > 2 else products


def most_important_units(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: str | None = None,
    count: int = 1,
    score: str = "logit",
    wrt: int | str = 0,
) -> tuple[Int[Tensor, "b count"], Float[Tensor, "b count"]]:
    """For each image the ``count`` most important units of a layer, best first, and their importance.

    Of equals the first wins. Arguments as ``unit_importance``.

    Raises:
        ConvscopeError: as there, or a count that the layer has not.
    """
    with evaluation(model):
        name = layer or default_layer(model, x)
        importance = unit_importance(model, x, target=target, layer=name, score=score, wrt=wrt)
        if not 1 <= count <= importance.shape[1]:
            raise ConvscopeError(f"{count} units were asked for, but layer {name!r} has {importance.shape[1]}")
        ranked = importance.nan_to_num(nan=-torch.inf).sort(dim=1, descending=True, stable=True).indices[:, :count]
        return ranked, importance.gather(1, ranked)


def normalised_after(model: nn.Module, x: Inputs, layers: Sequence[str], *, wrt: int | str = 0) -> tuple[str, ...]:
    """Those of the layers whose output goes straight into a batch norm: zero there is not "off".

    Read off the recorded graph, so that a functional batch norm is found too. Empty where the network records none.
    """
    with evaluation(model):
        run = forward(model, x, layers=layers, graph_from=layers, wrt=wrt)
        if run.scores.grad_fn is None:
            return ()
        norms = [node for node in nodes(run.scores) if operation(node).endswith("BatchNorm")]
        copies = [norm.next_functions[0][0] for norm in norms]
        sources = {edge for copy in copies if copy is not None for edge in copy.next_functions}
        edges = {layer: get_gradient_edge(run.activations[layer]) for layer in layers}
    return tuple(layer for layer, edge in edges.items() if (edge.node, edge.output_nr) in sources)
